// One WebSocket, to the room that is chosen; it comes back by itself. The session's cookie goes with each handshake.
// Whatever others wrote goes into the page as textContent, never as HTML.
"use strict";

const LOGGED_OUT = 4401;      // the server's close code
const FIRST_DELAY = 1000;     // milliseconds before we connect again; they double with each failure,
const LAST_DELAY = 30000;     // up to this
const LINES = 500;            // shown at most

const element = (id) => document.getElementById(id);

let socket = null;
let failures = 0;   // in a row
let retry = null;   // the timer until the next attempt

function connect() {
  clearTimeout(retry);
  retry = null;
  if (socket !== null) {
    socket.onmessage = socket.onclose = null;
    socket.close();
  }
  const room = element("room").value;
  const url = new URL(`/rooms/${encodeURIComponent(room)}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  show("connecting", "connecting");
  socket = new WebSocket(url);
  socket.onmessage = ({data}) => receive(JSON.parse(data), room);
  socket.onclose = ({code, reason}) => lost(code, reason);
}

// A page is not told why a handshake was refused, so it sends a plain request to the same address.
async function lost(code, reason) {
  const room = element("room").value;
  element("here").textContent = "";
  if (code === LOGGED_OUT) return show("closed", "logged out");
  const delay = Math.min(FIRST_DELAY * 2 ** failures, LAST_DELAY) * (0.5 + Math.random() / 2);
  failures += 1;
  show("closed", `disconnected: code ${code}${reason ? `, ${reason}` : ""}; trying again in ${(delay / 1000).toFixed(1)} s`);
  clearTimeout(retry);
  retry = setTimeout(connect, delay);
  try {
    const answer = await fetch(`/rooms/${encodeURIComponent(room)}`);
    if (answer.status === 401) location.assign("/");
  } catch {
    // There is no server just now.
  }
}

function receive(message, room) {
  if ("here" in message) {
    failures = 0;
    show("open", `in the ${room}`);
    element("here").textContent = message.here.join(", ");
  } else {
    write(message.from, message.text);
  }
}

function write(who, text) {
  const line = document.createElement("li");
  const name = document.createElement("b");
  const words = document.createElement("span");
  name.textContent = who;
  words.textContent = text;
  line.append(name, " ", words);
  if (who === element("name").textContent) line.className = "own";
  const log = element("log");
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  log.append(line);
  while (log.childElementCount > LINES) log.firstElementChild.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

function show(state, text) {
  element("state").dataset.state = state;
  element("state").textContent = text;
}

element("room").addEventListener("change", () => {
  failures = 0;
  element("log").replaceChildren();
  element("here").textContent = "";
  connect();
});

element("say").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = element("text");
  if (socket.readyState !== WebSocket.OPEN || field.value.trim() === "") return;
  socket.send(field.value);
  field.value = "";
});

addEventListener("online", () => { if (retry !== null) connect(); });
connect();
