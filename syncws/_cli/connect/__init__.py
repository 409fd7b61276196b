"""The client for the terminal and for pipes: `syncws connect URL`.

Floor 6: the order inside is from what is shown to how it is used.

* `endings`: the exit statuses, and which end of a connection is a normal one.
* `refusals`: why there is no connection, and what to change.
* `jsontext`: the text of JSON, laid out and in pieces that have a colour.
* `view`: what a message, and everything else, looks like, in pieces of text.
* `paint`: those pieces in the colours of a terminal.
* `record`: a conversation as lines of JSON, written and read.
* `session`: a conversation: one connection, or several one after the other.
* `output`: standard output and standard error, where they are no screen.
* `replay`: a recorded conversation once more, compared with what comes back.
* `lines`: standard input, cut into messages.
* `pipes`: standard input to the server, and its messages to standard output.
* `history`: the file that has the lines that were typed.
* `plainscreen`: a terminal without line editing.
* `screen`: a terminal with line editing, where messages appear above the line.
* `slash`: the commands that can be typed: /ping, /close.
* `talk`: a conversation at a terminal.
* `options`: the command line of all that. Begin here.
"""
