// What the page has to do; see `run`.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { TOKEN, browse, endAll, get, load, prefixed, raw, start, visit } from "./world.mjs";

const { values: options } = parseArgs({
  options: {
    programs: { type: "string" }, pictures: { type: "string" }, readme: { type: "string" },
    only: { type: "string", default: "" }, keep: { type: "boolean" }, screenshot: { type: "boolean" },
  },
});

const checks = [];
const check = (name, run) => checks.push({ name, run });

/** A shop that nobody visits but the check, and the inspector over it. */
async function inspected({ token = false, context = {}, ...more } = {}) {
  const access = token ? ["--admin-token", TOKEN] : [];
  const program = await start(options.programs, "inspector", [
    "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--visitors", "0", ...access,
  ]);
  for (const path of more.paths ?? []) await get(program.shop, path);
  const browser = await browse(context);
  const page = await visit(browser, `http://${program.admin}/`);
  return { ...program, browser, page };
}

const text = (page, id) => page.locator(id).textContent();
/** Waits until a text satisfies. */
const until = (page, id, test) => page.waitForFunction(
  ([id, source]) => new RegExp(source).test(document.querySelector(id).textContent), [id, test.source]);
const uris = (page) => page.locator("#list td.uri").allTextContents();
const PRODUCTS = ["/products/1", "/products/2", "/products/3?a=b", "/images/1/front.webp", "/search?q=tea"];

check("it loads on this machine without a token and has nothing to complain about", async () => {
  const { page, admin } = await inspected();
  await until(page, "#state", /live/);
  assert.equal(await text(page, "#nothing"), "Nothing is stored.");
  assert.match(await text(page, "#routes"), /No requests yet/);
  assert.equal(await page.locator("#enter").isVisible(), false);
  assert.equal(await text(page, "#t-ratio"), "–");
  assert.deepEqual(page.complaints, []);
  // Nothing is loaded from anywhere else.
  const loaded = await page.evaluate(() => performance.getEntriesByType("resource").map((one) => one.name));
  assert.ok(loaded.every((url) => url.startsWith(`http://${admin}/`)), loaded.join());
});

check("it is at home under a prefix, with a slash at its end or without", async () => {
  const { admin, browser, shop } = await inspected({ paths: ["/products/1"] });
  const front = await prefixed("/inspect", admin);
  for (const path of ["/inspect", "/inspect/"]) {
    const page = await visit(browser, `http://${front}${path}`);
    await until(page, "#list", /\/products\/1/);
    await until(page, "#state", /live/);
    await page.locator("#list").getByRole("button", { name: /^Purge/ }).click();
    await page.locator("#ask-yes").click();
    await until(page, "#said", /Purged \/products\/1/);
    assert.equal(await get(shop, "/products/1"), "MISS");
    assert.deepEqual(page.complaints, []);
  }
});

check("it shows what the reverse proxy does", async () => {
  const { shop } = await inspected();
  const proxy = await start(options.programs, "reverse_proxy", [
    "--listen", "127.0.0.1:0", "--origin", `http://${shop}`, "--ttl", "/products/**=60", "--admin", "127.0.0.1:0",
  ]);
  await get(proxy.shop, "/products/1");
  const page = await visit(await browse(), `http://${proxy.admin}/`);
  await until(page, "#list", /\/products\/1/);
  assert.deepEqual(page.complaints, []);
});

check("a token is asked for, kept for the tab, and forgotten on demand", async () => {
  const { page } = await inspected({ token: true, paths: PRODUCTS });
  await page.locator("#enter").waitFor();
  await page.keyboard.type("not-the-token-at-all");
  await page.keyboard.press("Enter");
  await until(page, "#enter-error", /not accepted/);
  assert.equal(await page.evaluate(() => sessionStorage.getItem("token")), null);
  await page.keyboard.press("Escape");
  assert.ok(await page.locator("#enter").isVisible(), "there is nothing behind it to escape to");
  await page.locator("#enter input[type=password]").fill(TOKEN);
  await page.keyboard.press("Enter");
  await until(page, "#list", /\/products\/1/);
  await page.reload();
  await until(page, "#list", /\/products\/1/);
  assert.equal(await page.locator("#enter").isVisible(), false);
  await page.locator("#leave").click();
  await page.locator("#enter").waitFor();
  assert.equal(await page.evaluate(() => JSON.stringify([localStorage, sessionStorage]).includes("tests-only")), false);
  // The browser itself reports each refusal, and nothing else is amiss.
  assert.deepEqual(page.complaints.filter((complaint) => !complaint.includes("401")), []);
});

check("plots and numbers move under load, and come to rest after it", async () => {
  const { page, shop } = await inspected();
  await until(page, "#t-rate", /^0\/s$/);
  const line = (plot, series) => page.locator(`${plot} path[data-series="${series}"]`).getAttribute("d");
  assert.equal(await line("#p-ratio", "hit ratio"), "M0 0");
  const stop = load(shop, ["/products/1", "/products/2", "/search?q=tea", "/cart"]);
  await until(page, "#t-ratio", /^[5-9]\d\.\d %|^(> 99\.9|100\.0) %/);
  await until(page, "#t-rate", /^[1-9].*\/s$/);
  await until(page, "#t-hit", /^\d.*(µs|ms)$/);
  await until(page, "#t-miss", /^\d.*(ms|s)$/);
  for (const [plot, series] of [["#p-ratio", "hit ratio"], ["#p-latency", "hit p50"], ["#p-latency", "miss p50"], ["#p-rate", "hit"], ["#p-rate", "bypass"]]) {
    const before = await line(plot, series);
    assert.match(before, /^M[\d.]+ [\d.]+/, `${plot} ${series}`);
    await page.waitForFunction(([selector, before]) => document.querySelector(selector).getAttribute("d") !== before,
      [`${plot} path[data-series="${series}"]`, before]);
  }
  // A hit lies below a miss: its line is lower, and so its numbers are greater.
  const height = async (series) => Number((await line("#p-latency", series)).match(/ ([\d.]+)$/)[1]);
  assert.ok(await height("hit p50") > await height("miss p50"));
  await until(page, "#routes", /\/products\/\{id\}/);
  await until(page, "#reasons", /miss: uri-miss/);
  await until(page, "#hot", /\/(products|search).*≈ \d/);
  await stop();
  await until(page, "#t-rate", /^0\/s$/);
  assert.deepEqual(page.complaints, []);
});

check("a plot is read with the pointer and with the keyboard", async () => {
  const { page, shop } = await inspected();
  const stop = load(shop, ["/products/1"]);
  await until(page, "#t-ratio", /%/);
  await page.waitForFunction(() => samples.length > 3);
  await stop();
  const plot = page.locator("#p-rate svg");
  const box = await plot.boundingBox();
  await page.mouse.move(box.x + box.width - 10, box.y + 60);
  assert.equal(await page.locator("#p-rate .cursor").count(), 1);
  await page.mouse.move(box.x, box.y - 60);
  assert.equal(await page.locator("#p-rate .cursor").count(), 0);
  await plot.focus();
  for (let i = 0; i < 2; i++) await page.keyboard.press("ArrowLeft");
  assert.match(await plot.getAttribute("aria-label"), /Requests per second, \d s ago: hit/);
});

check("a search finds, filters narrow, and pages turn", async () => {
  const many = Array.from({ length: 60 }, (_, i) => `/images/${i}/front.webp`);
  const { page } = await inspected({ paths: [...PRODUCTS, ...many] });
  await until(page, "#matched", /^64 of 64$/);
  assert.equal((await uris(page)).length, 25);
  await page.locator("#next").click();
  await until(page, "#range", /26–50/);
  await page.locator("#next").click();
  await until(page, "#range", /51–64/);
  assert.equal(await page.locator("#next").isDisabled(), true);
  await page.locator("#previous").click();
  await until(page, "#range", /26–50/);

  const search = page.locator("#filters [name=text]");
  await search.fill("a=b");
  await search.press("Enter");
  await until(page, "#matched", /^1 of 64$/);
  assert.deepEqual(await uris(page), ["/products/3?a=b"]);
  await search.fill("/products/*");
  await search.press("Enter");
  await until(page, "#matched", /^3 of 64$/);
  await page.locator("#filters [name=state]").selectOption("stale");
  await until(page, "#nothing", /None of 64/);
  await page.locator("#filters [name=state]").selectOption("fresh");
  await until(page, "#matched", /^3 of 64$/);
  await page.locator("#list .tag").first().click();
  await until(page, "#matched", /^4 of 64$/);
  assert.equal(await page.locator("#filters [name=tag]").inputValue(), "catalogue");
  await page.locator("#filters [name=order]").selectOption("largest");
  await page.locator("#filters [name=tag]").fill("");
  await page.locator("#filters [name=tag]").press("Enter");
  await until(page, "#matched", /^64 of 64$/);
  assert.match((await uris(page))[0], /^\/images\//);
  await page.locator("#filters [name=status]").fill("abc");
  await page.locator("#filters [name=status]").press("Enter");
  await until(page, "#nothing", /status code/);
});

check("an entry grows older by itself and shows what its key is made of", async () => {
  const { page, shop } = await inspected();
  await get(shop, "/search?q=tea", { "x-forwarded-proto": "https" });
  await page.locator("#again").click();
  await until(page, "#list", /q=tea/);
  await until(page, "#list td[data-name=age]", /^3 s$/);
  assert.match(await text(page, "#list td[data-name=TTL]"), /^[67] s$/);
  await page.locator("#list td.uri button").click();
  const facts = await text(page, "#list .more");
  for (const part of [shop, "x-forwarded-proto: https", "application/json", "10 s"]) {
    assert.ok(facts.includes(part), `${part} in ${facts}`);
  }
});

check("a purge shows what it would hit, does nothing when cancelled, and purges when confirmed", async () => {
  const { page, shop } = await inspected({ paths: PRODUCTS });
  const form = page.locator("#purging");
  await form.locator("[name=what]").fill("/products/**");
  await form.locator("button").click();
  await until(page, "#ask-title", /^Purge \/products\/\*\*\?$/);
  assert.match(await text(page, "#ask-body"), /3 of 5 stored responses match/);
  assert.deepEqual((await page.locator("#ask-body li").allTextContents()).sort(), PRODUCTS.slice(0, 3));
  assert.equal(await text(page, "#ask-yes"), "Purge 3");
  await page.locator("#ask-no").click();
  assert.equal(await get(shop, "/products/1"), "HIT");

  await form.locator("button").click();
  await page.locator("#ask-yes").click();
  await until(page, "#said", /Purged \/products\/\*\*/);
  assert.equal(await get(shop, "/products/1"), "MISS");
  assert.equal(await get(shop, "/search?q=tea"), "HIT");

  await form.locator("[name=kind]").selectOption("tag");
  await form.locator("[name=what]").fill("images");
  await form.locator("button").click();
  await until(page, "#ask-body", /1 of \d stored responses match/);
  await page.locator("#ask-yes").click();
  await until(page, "#said", /images/);
  assert.equal(await get(shop, "/images/1/front.webp"), "MISS");

  await form.locator("[name=kind]").selectOption("all");
  assert.equal(await form.locator("[name=what]").isVisible(), false);
  await form.locator("[name=soft]").check();
  await form.locator("button").click();
  await until(page, "#ask-yes", /^Mark as stale \d$/);
  await page.locator("#ask-yes").click();
  await until(page, "#said", /Marked as stale/);
  assert.equal(await get(shop, "/products/1"), "STALE");
  assert.deepEqual(page.complaints, []);
});

check("what cannot be purged is refused with what to change", async () => {
  const { page } = await inspected();
  const form = page.locator("#purging");
  await form.locator("button").click();
  await until(page, "#purge-error", /Say what to purge/);
  await form.locator("[name=what]").fill("products");
  await form.locator("button").click();
  await until(page, "#purge-error", /\//);
  assert.equal(await page.locator("#ask").isVisible(), false);
});

check("a URL is explained, and so is an entry", async () => {
  const { page, shop } = await inspected({ paths: PRODUCTS });
  const form = page.locator("#explaining");
  await form.locator("[name=url]").fill(`http://${shop}/products/9`);
  await form.locator("[name=headers]").fill("Accept-Language: de\nX-One: 1");
  await form.locator("button").click();
  await until(page, "#explained", /MISS.*uri-miss/);
  assert.match(await text(page, "#explained"), /accept-language: de.*\/products\/\{id\}/);
  await form.locator("[name=headers]").fill("nonsense");
  await form.locator("button").click();
  await until(page, "#explain-error", /a name and a value/);

  await until(page, "#list", /\/products\/1/);
  await page.locator("#list tr", { hasText: "/products/1" }).getByRole("button", { name: /^Explain/ }).click();
  await until(page, "#explained", /HIT.*hit/);
  assert.match(await text(page, "#explained"), /fresh for 20 s/);
});

check("the switch asks before it goes off, and says so everywhere while it is", async () => {
  const { page, shop } = await inspected({ paths: PRODUCTS });
  const lever = page.getByRole("switch");
  await until(page, "#state", /live/);
  assert.equal(await lever.getAttribute("aria-checked"), "true");
  await lever.click();
  await page.locator("#ask-no").click();
  assert.equal(await get(shop, "/products/1"), "HIT");
  await lever.click();
  await page.locator("#ask-yes").click();
  await page.locator("#bypassed").waitFor();
  assert.equal(await lever.getAttribute("aria-checked"), "false");
  assert.equal(await get(shop, "/products/1"), "BYPASS");
  await until(page, "#t-health", /degraded/);
  await lever.click();
  await until(page, "#said", /The cache is on/);
  assert.equal(await page.locator("#bypassed").isVisible(), false);
  assert.equal(await get(shop, "/products/1"), "HIT");
});

check("hostile input is shown and never becomes markup", async () => {
  const { page, shop } = await inspected();
  const evil = `<img src=x onerror="document.title='owned'">`;
  const answer = await raw(shop, `GET /products/7?q=${encodeURIComponent(evil)}&'"<b> HTTP/1.1\r\nHost: evil\r\nX-Forwarded-Host: ${evil}\r\nConnection: close\r\n\r\n`);
  const again = await raw(shop, `GET /products/7?q=${encodeURIComponent(evil)} HTTP/1.1\r\nHost: evil\r\nX-Forwarded-Host: ${evil}\r\nConnection: close\r\n\r\n`);
  assert.ok(/x-cache: MISS/i.test(answer + again), answer + again);
  await page.locator("#again").click();
  await until(page, "#list", /%3Cimg/);
  await page.locator("#list td.uri button").first().click();
  await until(page, "#list", /x-forwarded-host: <img src=x/);
  await page.locator("#list").getByRole("button", { name: /^Explain/ }).first().click();
  await until(page, "#explained", /x-forwarded-host: <img src=x/);
  await page.locator("#list").getByRole("button", { name: /^Purge/ }).first().click();
  await page.locator("#ask").waitFor();
  assert.equal(await page.locator("img, b:not(.legend b), script:not(body > script)").count(), 0);
  assert.equal(await page.title(), "Cache inspector");
  assert.deepEqual(page.complaints, []);
});

check("all of it can be done with the keyboard, and where it stands can be seen", async () => {
  const { page, shop } = await inspected({ paths: PRODUCTS });
  await until(page, "#list", /\/products\/1/);
  const press = (key) => page.keyboard.press(key);
  const seen = () => page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== "none");
  await press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.className), "skip");
  assert.ok(await seen());
  await press("Enter");
  await press("/");
  assert.equal(await page.evaluate(() => document.activeElement.name), "text");
  await page.keyboard.type("products/2");
  await press("Enter");
  await until(page, "#matched", /^1 of 5$/);
  const walk = async (name) => {
    for (let steps = 0; steps < 12; steps++) {
      await press("Tab");
      assert.ok(await seen(), "the focus cannot be seen");
      if (await page.evaluate((name) => document.activeElement.textContent.startsWith(name), name)) return;
    }
    assert.fail(`${name} was not reached`);
  };
  await walk("/products/2");
  await press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-expanded")), "true");
  await walk("Explain");
  await walk("Purge");
  await press("Enter");
  await page.locator("#ask").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "ask-no");
  await press("Escape");
  assert.equal(await get(shop, "/products/2"), "HIT");
  // The focus is back where it was.
  assert.ok(await page.evaluate(() => document.activeElement.textContent.startsWith("Purge")));
  await press("Enter");
  await page.locator("#ask").waitFor();
  await press("Tab");
  await press("Enter");
  await until(page, "#said", /Purged \/products\/2/);
  assert.equal(await get(shop, "/products/2"), "MISS");
  // Whatever takes input says what for.
  const unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, select, textarea, svg[role]")]
    .filter((one) => !one.hidden && !(one.labels && one.labels.length) && !one.textContent.trim() && !one.getAttribute("aria-label"))
    .map((one) => one.outerHTML));
  assert.deepEqual(unnamed, []);
});

check("nothing is asked for while nobody looks, or while it is paused", async () => {
  const { page } = await inspected();
  await until(page, "#state", /live/);
  let asked = 0;
  page.on("request", (request) => { if (request.url().endsWith("/stats")) asked += 1; });
  const rest = async () => {
    await page.waitForTimeout(100);
    const before = asked;
    await page.waitForTimeout(2300);
    return asked - before;
  };
  const hide = (hidden) => page.evaluate((hidden) => {
    Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  await hide(true);
  assert.equal(await rest(), 0);
  await hide(false);
  assert.ok(await rest() >= 1);
  await page.locator("#pause").click();
  await until(page, "#state", /paused/);
  assert.equal(await rest(), 0);
  await page.locator("#pause").click();
  await until(page, "#state", /live/);
  assert.ok(await rest() >= 1);
});

check("a server that goes away is told of, and so is its return", async () => {
  const { page, admin, stop } = await inspected();
  await until(page, "#state", /live/);
  await stop();
  await until(page, "#trouble", /does not answer/);
  assert.equal(await text(page, "#state"), "offline");
  await page.locator("#again").click();
  await until(page, "#nothing", /does not answer/);
  await start(options.programs, "inspector", ["--listen", "127.0.0.1:0", "--admin", admin, "--visitors", "0"]);
  await until(page, "#state", /live/);
  assert.equal(await page.locator("#trouble").isVisible(), false);
});

/** Everything on the page, so that what is measured is not the empty page. */
async function busy(context) {
  const inspector = await inspected({ context, paths: PRODUCTS });
  const { page, shop } = inspector;
  await get(shop, `/products/5?${"long".repeat(120)}`, { "x-forwarded-host": "x".repeat(300) });
  const stop = load(shop, PRODUCTS.concat("/cart", "/nowhere"));
  await until(page, "#t-ratio", /%/);
  await until(page, "#t-hit", /s$/);
  await page.locator("#again").click();
  await until(page, "#list", /longlong/);
  await page.locator("#list tr", { hasText: "longlong" }).locator("td.uri button").click();
  await page.locator("#list").getByRole("button", { name: /^Explain/ }).nth(2).click();
  await until(page, "#explained", /HIT|MISS|STALE/);
  return { ...inspector, stop };
}

check("at the width of a phone nothing is wider than the page", async () => {
  const { page, stop } = await busy({ viewport: { width: 360, height: 740 }, hasTouch: true });
  await stop();
  const tooWide = () => page.evaluate(() => {
    const wide = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility() && one.getBoundingClientRect().right > innerWidth + 1 && !one.closest(".spoken"));
    return [document.documentElement.scrollWidth, wide.map((one) => one.outerHTML.slice(0, 80))];
  });
  assert.deepEqual(await tooWide(), [360, []]);
  await page.locator("#list").getByRole("button", { name: /^Purge/ }).last().click();
  await page.locator("#ask").waitFor();
  assert.deepEqual(await tooWide(), [360, []]);
  await picture(page, "phone-dialog");
  await page.locator("#ask-no").click();
  await page.evaluate(() => scrollTo(0, 0));
  await picture(page, "phone", { fullPage: true });
});

check("light and dark are both legible, and chosen by the system or by hand", async () => {
  const { page, stop } = await busy();
  const dark = () => page.evaluate(() => {
    const [red, green, blue] = getComputedStyle(document.body).backgroundColor.match(/\d+/g).map(Number);
    return red + green + blue < 150;
  });
  assert.equal(await dark(), false);
  assert.deepEqual(await page.evaluate(illegible), []);
  await picture(page, "light", { fullPage: true });
  await page.emulateMedia({ colorScheme: "dark" });
  assert.equal(await dark(), true);
  assert.deepEqual(await page.evaluate(illegible), []);
  await picture(page, "dark", { fullPage: true });
  const theme = page.locator("#theme");
  await theme.click();
  assert.equal(await dark(), false);
  await page.reload();
  assert.equal(await text(page, "#theme"), "Theme: light");
  assert.equal(await dark(), false);
  await theme.click();
  assert.equal(await dark(), true);
  await page.emulateMedia({ colorScheme: "light" });
  assert.equal(await dark(), true);
  await theme.click();
  assert.equal(await dark(), false);
  await stop();
});

/** Finds text with less contrast than 4.5 : 1 (WCAG 2.2 §1.4.3). */
function illegible() {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  };
  const luminance = (color) => {
    const [red, green, blue] = [...channels(color)].map((channel) => {
      const part = channel / 255;
      return part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
    });
    return .2126 * red + .7152 * green + .0722 * blue;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (channels(color)[3] === 255) return color;
    }
    return "white";
  };
  const faults = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || element.closest(":disabled, .spoken, script")) continue;
    const style = getComputedStyle(element);
    const [one, other] = [luminance(element.ownerSVGElement ? style.fill : style.color), luminance(ground(element))].sort((a, b) => b - a);
    const contrast = (one + .05) / (other + .05);
    if (contrast < 4.5) faults.push(`${contrast.toFixed(2)} ${element.tagName} ${element.className} ${element.textContent.slice(0, 30)}`);
  }
  return faults;
}

async function picture(page, name, more = {}) {
  if (!options.keep) return;
  mkdirSync(options.pictures, { recursive: true });
  await page.screenshot({ path: join(options.pictures, `${name}.png`), ...more });
}

/** Takes the picture for the README: a shop with visitors, after it has run for a while. */
async function screenshot() {
  const program = await start(options.programs, "inspector", [
    "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--visitors", "8",
  ]);
  const page = await visit(await browse({ viewport: { width: 1240, height: 1080 } }), `http://${program.admin}/`);
  await page.waitForFunction(() => samples.length > 75, null, { timeout: 120000 });
  await page.locator("#filters [name=order]").selectOption("expiring");
  await until(page, "#range", /1–25/);
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: options.readme });
  // A picture of few colours loses nothing by a palette.
  execFileSync("pngquant", ["--force", "--skip-if-larger", "--output", options.readme, "128", options.readme]);
  const size = statSync(options.readme).size;
  assert.ok(size <= 120 << 10, `${options.readme} has ${size} bytes`);
  console.log(`${options.readme}: ${size} bytes`);
}

let passed = 0, failed = 0;
for (const { name, run } of checks.filter(({ name }) => name.includes(options.only))) {
  if (options.screenshot) break;
  const began = Date.now();
  try {
    await run();
    passed += 1;
    console.log(`ok      ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
  await endAll();
}
if (options.screenshot) {
  await screenshot().finally(endAll);
} else {
  console.log(`\ntest result: ${failed ? "FAILED" : "ok"}. ${passed} passed; ${failed} failed`);
  process.exitCode = failed || !passed ? 1 : 0;
}
