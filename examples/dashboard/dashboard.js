// The page's half of the dashboard: one WebSocket that comes back by itself, and a plot of what comes on it.
// Nothing is ever sent: the server takes no messages.
"use strict";

const SHOWN = 120;            // samples
const FIRST_DELAY = 1000;     // milliseconds before we connect again; they double with each failure,
const LAST_DELAY = 30000;     // up to this

const url = new URL("ws", location.href);
url.protocol = location.protocol === "https:" ? "wss:" : "ws:";

const element = (id) => document.getElementById(id);

let samples = [];
let failures = 0;   // in a row
let retry = null;   // the timer until the next attempt
let silence = null; // the timer that gives up a silent server

// ---- The connection

function connect() {
  clearTimeout(retry);
  retry = null;
  show("connecting");
  const socket = new WebSocket(url);
  socket.onopen = () => samples = [];  // the first message has all there is, also what we missed
  socket.onmessage = ({data}) => receive(socket, JSON.parse(data));
  socket.onclose = ({code, reason}) => lost(`code ${code}, ${reason ? `reason: ${reason}` : "no reason"}`);
}

function receive(socket, message) {
  failures = 0;
  show("open");
  // A connection that died silently would look open for ever: the samples are its heartbeat.
  clearTimeout(silence);
  silence = setTimeout(() => {
    socket.onmessage = socket.onclose = null;  // a browser may take a minute to give it up
    socket.close();
    lost("the server does not answer");
  }, 10000 + 5000 * message.interval);
  samples = [...samples, ...message.samples].slice(-SHOWN);
  tell();
  draw();
}

function lost(why) {
  clearTimeout(silence);
  // The delay is shortened at random, or all pages would come back to a restarted server at the same moment.
  const delay = Math.min(FIRST_DELAY * 2 ** failures, LAST_DELAY) * (0.5 + Math.random() / 2);
  failures += 1;
  retry = setTimeout(connect, delay);
  show("closed", `${why}; trying again in ${(delay / 1000).toFixed(1)} s`);
}

function show(state, more = "") {
  if (element("state").dataset.state === state && !more) return;
  element("state").dataset.state = state;
  element("state").querySelector("b").textContent = state;
  element("state").querySelector("span").textContent = more;
}

// ---- What is shown

function tell() {
  const {load, cpu} = samples.at(-1);
  element("load").textContent = load.toFixed(2);
  element("cpu").textContent = cpu === null ? "not known" : `${(100 * cpu).toFixed(0)} %`;
  element("highest").textContent = Math.max(...samples.map((sample) => sample.load)).toFixed(2);
  element("count").textContent = samples.length;
}

function draw() {
  const canvas = element("plot");
  const color = (name) => getComputedStyle(canvas).getPropertyValue(name);
  const {clientWidth: width, clientHeight: height} = canvas;
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const pen = canvas.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);

  const top = Math.max(1, Math.ceil(1.1 * Math.max(...samples.map((sample) => sample.load))));
  const box = {left: 34, right: width - 44, top: 10, bottom: height - 10};
  const x = (index) => box.right - (samples.length - 1 - index) * (box.right - box.left) / (SHOWN - 1);
  const y = (share) => box.bottom - share * (box.bottom - box.top);

  pen.font = "12px system-ui, sans-serif";
  pen.textBaseline = "middle";
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    pen.strokeStyle = color("--line");
    pen.lineWidth = 1;
    line(pen, [[box.left, y(share)], [box.right, y(share)]]);
    pen.fillStyle = color("--load");
    pen.textAlign = "right";
    pen.fillText((share * top).toLocaleString(undefined, {maximumFractionDigits: 2}), box.left - 6, y(share));
    pen.fillStyle = color("--cpu");
    pen.textAlign = "left";
    pen.fillText(`${100 * share} %`, box.right + 6, y(share));
  }
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  pen.strokeStyle = color("--cpu");
  line(pen, samples.flatMap(({cpu}, index) => cpu === null ? [] : [[x(index), y(cpu)]]));
  pen.strokeStyle = color("--load");
  line(pen, samples.map(({load}, index) => [x(index), y(load / top)]));
}

function line(pen, points) {
  pen.beginPath();
  for (const [across, up] of points) pen.lineTo(across, up);
  pen.stroke();
}

// ---- Begin

addEventListener("resize", () => samples.length && draw());
addEventListener("online", () => retry !== null && connect());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => samples.length && draw());
connect();
