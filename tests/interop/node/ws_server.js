// Node's `ws` as a server, any number of them at a time, each known by its port. What the paths do: see ../servers.py.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const https = require("node:https");
const WebSocket = require("ws");
const {serve} = require("./commands.js");

const servers = new Map();

// How connections ended, in order, for whoever asks, also before there is an answer.
class Ends {
  constructor() {
    this.ends = [];
    this.waiting = [];
  }

  put(end) {
    if (this.waiting.length) this.waiting.shift()(end);
    else this.ends.push(end);
  }

  take() {
    return this.ends.length ? this.ends.shift() : new Promise((resolve) => { this.waiting.push(resolve); });
  }
}

// In pieces of 1000 bytes, though a character be cut in two: fragments need not end where characters do.
function sendFragments(socket, data, binary) {
  let start = 0;
  do {
    const piece = data.subarray(start, start + 1000);
    start += 1000;
    socket.send(piece, {binary, fin: start >= data.length});
  } while (start < data.length);
}

const paths = {
  "/echo": (socket) => { socket.on("message", (data, binary) => socket.send(data, {binary})); },
  "/stream": (socket) => { socket.on("message", (data, binary) => sendFragments(socket, data, binary)); },
  "/close": (socket, query) => {
    if (query.get("code") === "1005") socket.close();
    else socket.close(Number(query.get("code")), query.get("reason") ?? "");
  },
  "/ping": (socket, query) => {
    socket.on("pong", (data) => socket.send(`pong ${data}`));
    socket.ping(query.get("data"));
  },
  "/large": (socket, query) => { socket.send(Buffer.alloc(Number(query.get("size")))); },
  "/vanish": (socket) => { socket.terminate(); },
};

function refuse(socket, status) {
  const body = `refused: ${status}\n`;
  const head = [`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}`, "Connection: close", "Content-Type: text/plain",
    `Content-Length: ${Buffer.byteLength(body)}`];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}

function talk(socket, url, ends) {
  socket.on("close", (code, reason) => ends.put([code, reason.toString()]));
  socket.on("error", () => {});  // the close event tells
  paths[url.pathname](socket, url.searchParams);
}

serve({
  async listen({cert, key, compression, subprotocols}) {
    const server = cert === null ? http.createServer()
      : https.createServer({cert: fs.readFileSync(cert), key: fs.readFileSync(key)});
    const upgrader = new WebSocket.Server({
      noServer: true,
      perMessageDeflate: compression && {threshold: 0, ...compression},
      maxPayload: 0,
      handleProtocols: (offered) => [...offered].find((name) => subprotocols.includes(name)) ?? false,
    });
    const ends = new Ends();
    server.on("upgrade", (request, socket, head) => {
      const url = new URL(request.url, "http://localhost");
      if (url.pathname === "/refuse") refuse(socket, url.searchParams.get("status"));
      else upgrader.handleUpgrade(request, socket, head, (found) => talk(found, url, ends));
    });
    await new Promise((resolve) => { server.listen(0, "127.0.0.1", resolve); });
    const {port} = server.address();
    servers.set(port, {server, ends});
    return port;
  },
  async ended(port) {
    return servers.get(port).ends.take();
  },
  async close(port) {
    const {server} = servers.get(port);
    servers.delete(port);
    await new Promise((resolve) => { server.close(resolve); });
  },
}).then(() => process.exit());
