// The page's half of the chat: one WebSocket that comes back by itself, and what is said on it.
// Whatever others wrote goes into the page as textContent, never as HTML.
"use strict";

const LINES = 500;            // shown at most
const FIRST_DELAY = 1000;     // milliseconds before we connect again; they double with each failure,
const LAST_DELAY = 30000;     // up to this
const HEARTBEAT = 25000;      // milliseconds from ping to ping
const NAME_DELAY = 5000;      // milliseconds before we ask again for a name that was ours

const url = new URL("ws", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";

const element = (id) => document.getElementById(id);

// Our name and room on this connection, as the server has them; and those that we want on the next one. The browser
// keeps the latter for this tab, so that a reload keeps them.
let me = null;
let room = null;
const wanted = {name: sessionStorage.getItem("name"), room: sessionStorage.getItem("room") ?? "lobby"};

// ---- The connection

let socket = null;
let failures = 0;   // in a row
let retry = null;   // the timer until the next attempt
let beat = null;    // the timer of heartbeats
let heard = true;   // something came since the last heartbeat
let again = null;   // the timer until we ask again for our name
let position = null;  // of the last message that we have of the room: what came after it can be had
let missing = false;  // we were away, or the server was not told of something
let flood = null;   // the one under way

function connect() {
  clearTimeout(retry);
  retry = null;
  show("connecting");
  socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  socket.onopen = opened;
  socket.onmessage = ({data}) => receive(data);
  socket.onclose = ({code, reason}) => lost(`code ${code}, ${reason ? `reason: ${reason}` : "no reason"}`);
}

function opened() {
  heard = true;
  beat = setInterval(heartbeat, HEARTBEAT);
  show("open");
  enter(wanted.room);
  if (wanted.name !== null) send({name: wanted.name});
}

// Go to a room, or back to it: the server sends what was said there since then, and says whether that is all.
function enter(where) {
  const since = where === wanted.room ? position : null;
  position = null;
  send({join: where, since});
}

// A browser can neither send the protocol's pings nor see those of the server, so a connection that died silently
// (a laptop that slept, a train in a tunnel) would look open for ever.
function heartbeat() {
  if (heard) {
    heard = false;
    socket.send("ping");
    return;
  }
  socket.onmessage = socket.onclose = null;  // a browser may take a minute to give it up
  socket.close();
  lost("the server does not answer");
}

function lost(why) {
  clearInterval(beat);
  // The delay is shortened at random, or all pages would come back to a restarted server at the same moment.
  const delay = Math.min(FIRST_DELAY * 2 ** failures, LAST_DELAY) * (0.5 + Math.random() / 2);
  failures += 1;
  retry = setTimeout(connect, delay);
  if (room !== null) {  // once, not for each attempt that fails
    note(`Disconnected: ${why}`);
    missing = true;
  }
  me = room = flood = null;
  showOnline([]);
  show("closed", `${why}; trying again in ${(delay / 1000).toFixed(1)} s`);
}

function connectNow() {
  if (retry !== null) connect();
}

function send(command) {
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(command));
}

// ---- What comes

function receive(data) {
  heard = true;
  if (data === "pong") return;
  const object = parse(data);
  if (object === null) write({kind: "raw", text: typeof data === "string" ? data : `${data.byteLength} bytes`});
  else if ("you" in object) welcomed(object);
  else if ("online" in object) showOnline(object.online);
  else if ("say" in object) said(object);
  else if ("private" in object) saidPrivately(object);
  else if ("recovered" in object) recovered(object);
  else if ("gap" in object) missed();
  else if ("error" in object) refused(object.error);
}

// An object is always the server's own: it never passes on an object of another page. It looks at the first
// character, and so must we: if we accepted more, others could send us anything in the server's name.
function parse(data) {
  if (typeof data !== "string" || !data.startsWith("{")) return null;
  try {
    return JSON.parse(data);
  } catch {
    return null;
  }
}

function welcomed({you, room: where}) {
  failures = 0;
  element("error").textContent = "";
  if (where !== room) note(`You are in ${where}`);
  if (you !== null && you !== me) note(`You are ${you}`);
  me = you;
  room = where;
  remember("room", room);
  if (me !== null) remember("name", me);
  element("join").value = room;
  if (me !== null || element("name").value === "") element("name").value = me ?? wanted.name ?? "";
  show("open");
}

function remember(key, value) {
  wanted[key] = value;
  sessionStorage.setItem(key, value);
}

function said({say, from, position: at}) {
  if (room === null) return;  // before the answer to our first command: it is among what we are about to ask for
  position = at ?? position;
  write({kind: from === me ? "own" : "", who: from, text: say});
  if (flood !== null && from === me && say === flood.last) {
    const took = performance.now() - flood.since;
    element("flooded").textContent = `${flood.count} messages there and back in ${took.toFixed(0)} ms`;
    flood = null;
  }
}

// The server lost messages of its other processes: ask for what came since the last one that we have.
function missed() {
  missing = true;
  setTimeout(() => room !== null && enter(room), Math.random() * FIRST_DELAY);  // not all pages at once
}

function recovered({recovered: all, position: at}) {
  position ??= at;
  if (missing && !all) note("Messages may be missing here: the server does not know any more what was said");
  missing = false;
}

function saidPrivately({private: text, from, to}) {
  write({kind: from === me ? "own private" : "private", who: `${from} to ${to}, privately`, text});
}

function refused(error) {
  element("error").textContent = error;
  // The server may keep a connection that was cut for a while, and our name with it.
  clearTimeout(again);
  again = setTimeout(askAgain, NAME_DELAY);
}

function askAgain() {
  if (me === null && wanted.name !== null) send({name: wanted.name});
}

// ---- What is shown

function show(state, detail = "") {
  const line = element("state");
  line.dataset.state = state;
  line.querySelector("b").textContent = state === "open" ? "connected" : state;
  line.querySelector("span").textContent = detail;
  element("room").textContent = room === null ? "" : `in ${room}`;
  element("retry").hidden = state !== "closed";
  enable("#name-form button, #join-form button", state === "open");
  enable("#say-form button, #flood-form button", me !== null);
}

function enable(buttons, possible) {
  for (const button of document.querySelectorAll(buttons)) button.disabled = !possible;
}

function showOnline(names) {
  element("online").replaceChildren(...names.map((name) => {
    const button = make("button", name === me ? `${name} (you)` : name);
    button.type = "button";
    if (name === me) button.setAttribute("aria-current", "true");
    else button.title = `Write to ${name} privately`;
    button.onclick = () => address(name);
    const item = document.createElement("li");
    item.append(button);
    return item;
  }));
  showReceivers(names);
}

// The chosen name stays chosen, even if its owner has gone: else the next private message would go to everybody.
function showReceivers(names) {
  const select = element("to");
  const chosen = select.value;
  const others = names.filter((name) => name !== me);
  if (chosen !== "" && !others.includes(chosen)) others.push(chosen);
  select.replaceChildren(select.options[0], ...others.map((name) => make("option", name)));  // whose value is its text
  select.value = chosen;
}

function address(name) {
  if (name !== me) element("to").value = name;
  element("text").focus();
}

function note(text) {
  write({kind: "note", text});
}

function write({kind, who, text}) {
  const line = document.createElement("li");
  line.className = kind;
  line.title = new Date().toLocaleTimeString();
  if (who !== undefined) line.append(make("b", who));
  line.append(make("span", text));
  const log = element("log");
  log.append(line);
  if (log.children.length > LINES) log.firstChild.remove();
}

function make(tag, text) {
  return Object.assign(document.createElement(tag), {textContent: text});
}

// ---- What the person at the keyboard does

function onSubmit(form, action) {
  element(form).onsubmit = (event) => {
    event.preventDefault();
    action();
  };
}

onSubmit("name-form", () => send({name: element("name").value.trim()}));
onSubmit("join-form", () => enter(element("join").value.trim()));
onSubmit("say-form", () => {
  const to = element("to").value;
  const text = element("text").value;
  if (me === null || text.trim() === "") return;
  element("error").textContent = "";
  send(to === "" ? {say: text} : {private: to, text});
  element("text").value = "";
  element("text").focus();
});

// Send as many messages as asked for, as fast as we can; the last one that comes back stops the clock.
onSubmit("flood-form", () => {
  const count = element("count").valueAsNumber;
  if (me === null || flood !== null) return;
  element("flooded").textContent = "";
  flood = {count, last: `flood ${count} of ${count}`, since: performance.now()};
  for (let number = 1; number <= count; number++) send({say: `flood ${number} of ${count}`});
});

element("retry").onclick = connectNow;
addEventListener("online", connectNow);  // the machine has a network again

connect();
