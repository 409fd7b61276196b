// Node's `ws` as a client, one connection at a time.
"use strict";

const WebSocket = require("ws");
const {serve} = require("./commands.js");
require("./peer.js");

let socket;
let peer;

serve({
  async open(url, {subprotocols, origin, compression, ca}) {
    socket?.terminate();
    socket = new WebSocket(url, subprotocols, {origin: origin ?? undefined, perMessageDeflate: compression, ca});
    peer = new Peer(socket);
    const refused = new Promise((resolve) => {
      socket.on("unexpected-response", (request, response) => {
        resolve({status: response.statusCode});
        request.destroy();
      });
    });
    return Promise.race([peer.open(), refused]);
  },
  async send(message) {
    peer.send(message);
  },
  async sendFragments(pieces) {
    pieces.forEach((piece, index) => {
      socket.send(Peer.toMessage(piece), {fin: index === pieces.length - 1});
    });
  },
  async receive() {
    return peer.receive();
  },
  async echoes(content, size) {
    return peer.echoes(content, size);
  },
  async ping(data) {
    const pong = new Promise((resolve) => { socket.once("pong", (payload) => resolve(payload.toString())); });
    socket.ping(data);
    return pong;
  },
  async close(code, reason) {
    return peer.close(code, reason);
  },
  async closed() {
    return peer.closed;
  },
}).then(() => process.exit());
