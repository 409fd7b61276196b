// A WebSocket client with methods to await instead of events: over Node's `ws` and over a browser's own WebSocket,
// which have the same events. Messages travel as JSON: a string for text, {binary: "..."} for bytes, one character each.
"use strict";

globalThis.Peer = class Peer {
  static fromBytes(data) {
    const bytes = new Uint8Array(data);
    let text = "";
    for (let start = 0; start < bytes.length; start += 8192) {  // a call takes so many arguments and no more
      text += String.fromCharCode(...bytes.subarray(start, start + 8192));
    }
    return {binary: text};
  }

  static toMessage(message) {
    return typeof message === "string" ? message : Uint8Array.from(message.binary, (each) => each.charCodeAt(0));
  }

  constructor(socket) {
    this.socket = socket;
    this.messages = [];
    this.wake = () => {};
    socket.binaryType = "arraybuffer";
    this.opened = new Promise((resolve) => { socket.onopen = () => resolve(null); });
    this.closed = new Promise((resolve) => {
      socket.onclose = ({code, reason, wasClean}) => { resolve({code, reason, wasClean}); this.wake(); };
    });
    socket.onmessage = ({data}) => {
      this.messages.push(data);
      this.wake();
    };
    socket.onerror = () => {};  // a close event follows, and tells more
  }

  // Resolves to what was agreed on, or to how the connection ended before it was open.
  async open() {
    const end = await Promise.race([this.opened, this.closed]);  // the first one, if both are over by now
    return end ?? {subprotocol: this.socket.protocol, extensions: this.socket.extensions};
  }

  async receive() {
    const data = await this.next();
    return typeof data === "string" ? data : Peer.fromBytes(data);
  }

  async next() {
    while (this.messages.length === 0) {
      if (this.socket.readyState > 1) throw new Error("the connection ended, and no message came");
      await new Promise((resolve) => { this.wake = resolve; });
    }
    return this.messages.shift();
  }

  send(message) {
    this.socket.send(Peer.toMessage(message));
  }

  // Whether a large message comes back as it was: "text", or bytes that are "zeros" or "random".
  async echoes(content, size) {
    const message = content === "text" ? "ü".repeat(size / 2) : new Uint8Array(size);
    if (content === "random") {
      let state = 1;
      for (let index = 0; index < size; index++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        message[index] = state >>> 24;
      }
    }
    this.socket.send(message);
    const data = await this.next();
    if (content === "text") return data === message;
    const bytes = new Uint8Array(data);
    return bytes.length === size && bytes.every((each, index) => each === message[index]);
  }

  close(code, reason) {
    if (code === null) this.socket.close();
    else this.socket.close(code, reason);
    return this.closed;
  }
};
