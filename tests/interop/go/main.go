// gorilla/websocket, told what to do: `program client` or `program server`, whose commands the files of these names
// hold. It reads them from standard input, a line of JSON each: {method, args}; it answers {result} or {error}, a line
// each, and ends when standard input does.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// patience is the time for one command: a test that waits for what never comes fails instead of hanging.
const patience = 20 * time.Second

type method func(arguments) (any, error)

type arguments []json.RawMessage

// into decodes the arguments, one into each target; null leaves its target as it is.
func (a arguments) into(targets ...any) error {
	if len(a) != len(targets) {
		return fmt.Errorf("%d arguments, not %d", len(a), len(targets))
	}
	for index, target := range targets {
		if err := json.Unmarshal(a[index], target); err != nil {
			return err
		}
	}
	return nil
}

type command struct {
	Method string
	Args   arguments
}

type answer struct {
	Result any    `json:"result"`
	Error  string `json:"error,omitempty"`
}

func run(methods map[string]method, task command) answer {
	call, known := methods[task.Method]
	if !known {
		return answer{Error: "no such method: " + task.Method}
	}
	answers := make(chan answer, 1)
	go func() {
		result, err := call(task.Args)
		if err != nil {
			answers <- answer{Error: err.Error()}
			return
		}
		answers <- answer{Result: result}
	}()
	select {
	case found := <-answers:
		return found
	case <-time.After(patience):
		return answer{Error: fmt.Sprintf("%s took over %v", task.Method, patience)}
	}
}

func main() {
	roles := map[string]func() map[string]method{"client": clientMethods, "server": serverMethods}
	if len(os.Args) != 2 || roles[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: program client|server")
		os.Exit(2)
	}
	methods := roles[os.Args[1]]()
	input := json.NewDecoder(os.Stdin)
	output := json.NewEncoder(os.Stdout)
	for {
		var task command
		if input.Decode(&task) != nil {
			return
		}
		if output.Encode(run(methods, task)) != nil {
			return
		}
	}
}
