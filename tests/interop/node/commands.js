// Does what it is told on standard input, a line of JSON each: {method, args}; answers {result} or {error}, a line each.
// Ends when standard input does.
"use strict";

const readline = require("node:readline");

const SECONDS = 20;  // for one command; a test that waits for what never comes fails instead of hanging

function overdue(method) {
  let timer;
  const promise = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${method} took over ${SECONDS} s`)), SECONDS * 1000);
  });
  return {promise, cancel: () => clearTimeout(timer)};
}

async function answer(methods, {method, args}) {
  const limit = overdue(method);
  try {
    return {result: (await Promise.race([methods[method](...args), limit.promise])) ?? null};
  } catch (error) {
    return {error: error.message};
  } finally {
    limit.cancel();
  }
}

exports.serve = async (methods) => {
  for await (const line of readline.createInterface({input: process.stdin})) {
    process.stdout.write(JSON.stringify(await answer(methods, JSON.parse(line))) + "\n");
  }
};
