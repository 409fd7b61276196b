// Node's `ws` as ../takeover_servers.py describes its servers: node takeover.js FOLDER SETTINGS
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const {WebSocketServer} = require("ws");

const BATCH = 100;  // messages that may wait in the process, instead of all of them

const [folder, words] = process.argv.slice(2);
const {compression, takeover, level, bits, memory} = JSON.parse(words);
const feed = fs.readFileSync(path.join(folder, "feed"), "utf8").trimEnd().split("\n");

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: 0,
  perMessageDeflate: compression && {
    threshold: 0,
    serverNoContextTakeover: !takeover,
    clientNoContextTakeover: !takeover,
    serverMaxWindowBits: bits,
    clientMaxWindowBits: bits,
    zlibDeflateOptions: {level, memLevel: memory},
  },
});

server.on("connection", (socket) => {
  let next = 0;
  let missing = 0;  // messages that are still to be received
  const send = async (count) => {
    for (let sent = 0; sent < count; sent++) {
      const message = feed[next++ % feed.length];
      if (sent % BATCH === BATCH - 1) await new Promise((resolve) => { socket.send(message, resolve); });
      else socket.send(message);
    }
  };
  socket.on("error", () => {});
  socket.on("message", (data) => {
    if (missing > 0) {
      data.toString();  // as the others give texts
      if (--missing === 0) socket.send("done");
      return;
    }
    const [word, count] = data.toString().split(" ");
    if (word === "send") send(Number(count));
    else missing = Number(count);
  });
});

server.on("listening", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit(0)).resume();
