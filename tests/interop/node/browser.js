// A headless Chromium with one page: node browser.js EXECUTABLE. `page` and `ask` call any method of
// playwright's Page; `ask` gives what it returns, which must be something JSON can carry.
"use strict";

const path = require("node:path");
const {chromium} = require("playwright-core");
const {serve} = require("./commands.js");

async function main(executablePath) {
  const browser = await chromium.launch({executablePath});
  const context = await browser.newContext({ignoreHTTPSErrors: true});
  await context.addInitScript({path: path.join(__dirname, "peer.js")});
  const page = await context.newPage();
  page.setDefaultTimeout(15000);
  let complaints = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("console", (message) => { if (message.type() === "error") complaints.push(message.text()); });

  await serve({
    async page(method, ...args) {
      await page[method](...args);
    },
    async ask(method, ...args) {
      return page[method](...args);
    },
    // What the page complained of since the last call: exceptions, and errors on its console.
    async complaints() {
      const found = complaints;
      complaints = [];
      return found;
    },
  });
  await browser.close();
}

main(process.argv[2]).then(() => process.exit(), (error) => {
  process.stdout.write(JSON.stringify({error: error.message}) + "\n");
  process.exit(1);
});
