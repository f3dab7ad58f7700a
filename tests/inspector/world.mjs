// Programs, browsers and visitors, and the ending of all of them.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const { chromium } = await import(process.env.PLAYWRIGHT);

export const TOKEN = "tests-only-0123456789";
const open = [];

/** Ends whatever was begun, the last first. */
export async function endAll() {
  while (open.length) await open.pop()();
}

/** Starts an example, and waits until it listens. */
export async function start(directory, name, args) {
  const child = spawn(join(directory, name), args, { stdio: ["ignore", "pipe", "pipe"] });
  let said = "", complaints = "";
  child.stderr.on("data", (data) => { complaints += data; });
  const exited = new Promise((resolve) => child.on("exit", resolve));
  const stop = async () => { child.kill("SIGKILL"); await exited; };
  open.push(stop);
  await new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code) => reject(new Error(`${name} ended with ${code}: ${complaints}`)));
    child.stdout.on("data", (data) => {
      said += data;
      if (/^listening on /m.test(said)) resolve();
    });
  });
  const address = (what) => said.match(new RegExp(`^${what} on http://(\\S+)`, "m"))[1];
  return { shop: address("listening"), admin: address("admin"), stop };
}

/** Starts a browser with a profile of its own. */
export async function browse(options = {}) {
  const profile = mkdtempSync(join(tmpdir(), "inspector-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
    viewport: { width: 1280, height: 800 },
    colorScheme: "light",
    ...options,
  });
  open.push(async () => {
    await context.close();
    rmSync(profile, { recursive: true, force: true });
  });
  context.setDefaultTimeout(15000);
  return context;
}

/** Opens a page, and takes down whatever it has to complain about. */
export async function visit(context, url) {
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(String(error)));
  await page.goto(url);
  return page;
}

const agent = new http.Agent({ keepAlive: true });

/** Asks for something, and returns its `X-Cache`. */
export function get(address, path, headers = {}, method = "GET") {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    const request = http.request({ host, port, path, headers, method, agent }, (response) => {
      response.resume();
      response.on("end", () => resolve(response.headers["x-cache"]));
    });
    request.on("error", reject);
    request.end();
  });
}

/** Puts a server in front of another, which answers for it under a prefix. */
export async function prefixed(prefix, address) {
  const [host, port] = address.split(":");
  const server = http.createServer((request, response) => {
    const path = request.url.slice(prefix.length) || "/";
    const { method, headers } = request;
    const onward = http.request({ host, port, path, method, headers }, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  open.push(async () => { server.closeAllConnections(); server.close(); });
  return `127.0.0.1:${server.address().port}`;
}

/** Sends bytes that no client library would. */
export function raw(address, text) {
  const [host, port] = address.split(":");
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = net.connect(port, host, () => socket.write(text));
    socket.on("data", (data) => { answer += data; });
    socket.on("close", () => resolve(answer));
    socket.on("error", reject);
  });
}

/** Visits a shop with a few at a time until it is told to stop. */
export function load(address, paths, visitors = 4) {
  let stopped = false;
  const visitor = async (number) => {
    for (let turn = number; !stopped; turn++) await get(address, paths[turn % paths.length]);
  };
  // Where a program ends first, its visitors end with it.
  const all = Promise.allSettled(Array.from({ length: visitors }, (_, number) => visitor(number)));
  const stop = async () => { stopped = true; await all; };
  open.push(stop);
  return stop;
}
