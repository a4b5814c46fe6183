// The demo's page in a real browser, behind a front door that hands its connections over.
import { randomBytes } from 'node:crypto';
import { accessSync, constants } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { guardDescriptors } from '../helpers/descriptors.js';
import { condition, needs } from '../helpers/requirements.js';
import { type ServedDemo, waysToServe } from '../helpers/served-demo.js';

guardDescriptors(test);

const executablePath = '/usr/bin/chromium';
const launchArguments = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

function isInstalled(): boolean {
  try {
    accessSync(executablePath, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const installed = isInstalled();
// One after the other: two cores are too few for several pages that measure and hash at once.
const inBrowser = needs(test.serial, condition(installed, `${executablePath}: apt-get install chromium`));

let browser: Browser;
let demo: ServedDemo;

if (installed) {
  test.before('start the browser and the demo', async () => {
    browser = await chromium.launch({ executablePath, args: launchArguments });
    demo = await waysToServe['a handover']();
  });
  test.after.always('stop both', async () => {
    await browser?.close();
    await demo?.close();
  });
}

/** The page, loaded; what it complains about makes the test fail, but for what `mayComplain` says. */
async function open(
  t: ExecutionContext,
  { origin = demo.origin, mayComplain = /^$/, ...options }: OpenOptions = {},
): Promise<Page> {
  t.timeout(45_000);
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') complaints.push(message.text());
  });
  t.teardown(async () => {
    await context.close();
    const unexpected = complaints.filter((complaint) => !mayComplain.test(complaint));
    if (unexpected.length > 0) throw new Error(`The page complains: ${unexpected.join('; ')}`);
  });
  await page.goto(origin);
  return page;
}

interface OpenOptions extends BrowserContextOptions {
  origin?: string;
  mayComplain?: RegExp;
}

const text = async (page: Page, id: string): Promise<string> =>
  (await page.locator(`#${id}`).textContent()) ?? '';

/** Waits until the element's text matches. */
async function reads(page: Page, id: string, pattern: RegExp): Promise<string> {
  await page.locator(`#${id}`).filter({ hasText: pattern }).waitFor({ timeout: 30_000 });
  return text(page, id);
}

inBrowser('the page loads without a complaint and says how it came', async (t) => {
  const page = await open(t);
  await reads(page, 'how-pill', /Full handover/);
  t.is(await text(page, 'path-door'), `pid ${process.pid}`);
  t.is(await text(page, 'path-here'), `pid ${process.pid}`);
  t.regex(await text(page, 'path-client'), /^127\.0\.0\.1:\d+$/);
  t.regex(await text(page, 'connection-facts'), /Came in by\s*lo/);
});

inBrowser('without a front door the page does not speak of one as if it were there', async (t) => {
  const plain = await waysToServe['plain Fastify']();
  t.teardown(() => plain.close());
  const page = await open(t, { origin: plain.origin });
  await reads(page, 'how-pill', /No handover/);
  t.is(await text(page, 'path-door'), 'not here');
  t.regex(await text(page, 'connection-lead'), /^No connection information: /);
});

inBrowser('asking again shows which request on its connection that was', async (t) => {
  const page = await open(t);
  await reads(page, 'how-pill', /Full handover/);
  const answered = page.waitForResponse('**/connection');
  await page.getByRole('button', { name: 'Ask again' }).click();
  const { requestNumber } = (await (await answered).json()) as { requestNumber: number };
  t.true(requestNumber >= 2);
  await reads(page, 'connection-facts', new RegExp(`Request on it\\s*no\\. ${requestNumber}(?!\\d)`));
});

inBrowser('hello is measured', async (t) => {
  const page = await open(t);
  await page.getByRole('button', { name: 'Measure' }).click();
  t.is(await reads(page, 'hello-status', /hello/), 'Answer: {"hello":"world"}');
  t.is(await page.locator('#hello-bars i').count(), 30);
  t.regex(await text(page, 'hello-median'), /^[\d.]+ ms$/);
});

inBrowser('an upload of random bytes arrives whole', async (t) => {
  const page = await open(t);
  await page.getByLabel('Random bytes').selectOption('10 MB');
  await page.locator('#upload-random').click();
  t.is(
    await reads(page, 'upload-status', /arrived|failed/),
    'All 10,000,000 bytes arrived, the hashes match.',
  );
});

inBrowser('a chosen file arrives whole, an empty one too', async (t) => {
  const page = await open(t);
  const choose = (size: number): Promise<void> =>
    page
      .getByLabel('Choose a file')
      .setInputFiles({ name: 'any.bin', mimeType: 'image/png', buffer: randomBytes(size) });
  await choose(123_457);
  t.is(await reads(page, 'upload-status', /arrived|failed/), 'All 123,457 bytes arrived, the hashes match.');
  await choose(0);
  t.is(await reads(page, 'upload-status', /All 0 |failed/), 'All 0 bytes arrived, the hashes match.');
});

inBrowser(
  'a dropped file arrives whole, one dropped beside the field does not replace the page',
  async (t) => {
    const page = await open(t);
    const drop = async (id: string, content: string): Promise<void> => {
      const file = `new File([${JSON.stringify(content)}], 'dropped.txt')`;
      const data = await page.evaluateHandle(
        `(() => { const transfer = new DataTransfer(); transfer.items.add(${file}); return transfer; })()`,
      );
      await page.locator(`#${id}`).dispatchEvent('drop', { dataTransfer: data });
    };
    await drop('hero-title', 'beside');
    await drop('upload-drop', 'dropped');
    t.is(await reads(page, 'upload-status', /arrived|failed/), 'All 7 bytes arrived, the hashes match.');
  },
);

inBrowser('an upload can be cancelled, and another one begun', async (t) => {
  const page = await open(t);
  await page.getByLabel('Random bytes').selectOption('1 GB');
  await page.locator('#upload-random').click();
  await page.locator('#upload-cancel').click();
  t.is(await reads(page, 'upload-status', /Cancelled|arrived|failed/), 'Cancelled.');
  await page.getByLabel('Random bytes').selectOption('1 kB');
  await page.locator('#upload-random').click();
  t.is(await reads(page, 'upload-status', /arrived|failed/), 'All 1,000 bytes arrived, the hashes match.');
});

for (const [size, bytes] of [
  ['1 kB', '1,000'],
  ['100 MB', '100,000,000'],
] as const) {
  inBrowser(`a download of ${size} has the hash the process announced`, async (t) => {
    const page = await open(t);
    await page.getByLabel('Size').selectOption(size);
    await page.getByRole('button', { name: 'Download and check' }).click();
    t.is(
      await reads(page, 'download-status', /arrived|failed/),
      `All ${bytes} bytes arrived, the hashes match.`,
    );
    t.regex(await text(page, 'download-hash'), /^sha256 [0-9a-f]{64}$/);
  });
}

inBrowser('bytes changed on the way are noticed', async (t) => {
  const page = await open(t);
  await page.route('**/download?*', (route) =>
    route.fulfill({ body: 'x'.repeat(1000), headers: { 'x-sha256': '0'.repeat(64) } }),
  );
  await page.getByLabel('Size').selectOption('1 kB');
  await page.getByRole('button', { name: 'Download and check' }).click();
  t.is(
    await reads(page, 'download-status', /arrived|failed/),
    'All 1,000 bytes arrived, but the hashes differ.',
  );
});

inBrowser('what the process answers to a failed download is shown', async (t) => {
  const page = await open(t, { mayComplain: /503/ });
  await page.route('**/download?*', (route) =>
    route.fulfill({ status: 503, json: { message: 'No room left' } }),
  );
  await page.getByRole('button', { name: 'Download and check' }).click();
  t.is(await reads(page, 'download-status', /arrived|failed/), 'Download failed: No room left.');
});

inBrowser('the clock ticks', async (t) => {
  const page = await open(t);
  await reads(page, 'clock-pill', /Live/);
  t.regex(await reads(page, 'clock-count', /^[3-9] events/), /none missed$/);
  t.regex(await text(page, 'clock-date'), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/);
});

inBrowser('two tabs chat', async (t) => {
  const [one, other] = await Promise.all([open(t), open(t)]);
  await Promise.all([reads(one, 'chat-pill', /Connected/), reads(other, 'chat-pill', /Connected/)]);
  await one.getByRole('textbox', { name: 'Message' }).fill('Is anybody <b>there</b>?');
  await one.keyboard.press('Enter');
  await reads(other, 'chat-log', /anybody/);
  await other.getByRole('textbox', { name: 'Message' }).fill('I am.');
  await other.getByRole('button', { name: 'Send' }).last().click();
  await reads(one, 'chat-log', /I am/);
  const heard = (page: Page): Promise<string[]> =>
    page
      .locator('#chat-log li')
      .evaluateAll((lines) => lines.map((line) => line.lastChild?.textContent ?? ''));
  t.deepEqual(await heard(one), ['Is anybody <b>there</b>?', 'I am.']);
  t.deepEqual(await heard(other), await heard(one));
  t.is(await one.locator('#chat-log li[data-own]').count(), 1);
});

inBrowser('a restart of the process is shown, and outlived', async (t) => {
  const restarted = await waysToServe['a handover']();
  t.teardown(() => restarted.close());
  const page = await open(t, { origin: restarted.origin, mayComplain: /./ });
  await Promise.all([reads(page, 'chat-pill', /Connected/), reads(page, 'clock-pill', /Live/)]);
  // By an observer in the page: the state may be over before a look from outside.
  await page.evaluate(`
    globalThis.seen = new Promise((resolve) => {
      const state = document.getElementById('chat-state');
      const look = () => state.textContent.startsWith('Disconnected') && resolve();
      new MutationObserver(look).observe(state, { childList: true, characterData: true, subtree: true });
    });
    0`);
  await restarted.restart?.();
  await page.evaluate('globalThis.seen');
  await Promise.all([reads(page, 'chat-pill', /Connected/), reads(page, 'clock-pill', /Live/)]);
  await page.getByRole('textbox', { name: 'Message' }).fill('Back again.');
  await page.keyboard.press('Enter');
  t.regex(await reads(page, 'chat-log', /Back/), /Back again\./);
});

inBrowser('everything fits on a narrow phone, and dark is dark', async (t) => {
  const page = await open(t, { viewport: { width: 320, height: 640 }, colorScheme: 'dark' });
  await reads(page, 'how-pill', /Full handover/);
  t.is(await page.evaluate('document.documentElement.scrollWidth'), 320);
  const background = await page.evaluate<string>('getComputedStyle(document.body).backgroundColor');
  const channels = Array.from(background.matchAll(/\d+/g), Number);
  t.true(Math.max(...channels) < 60, background);
});

inBrowser('the keyboard reaches everything that can be done', async (t) => {
  const page = await open(t);
  await reads(page, 'chat-pill', /Connected/);
  const reached = new Set<string>();
  for (let press = 0; press < 40; press += 1) {
    await page.keyboard.press('Tab');
    reached.add(await page.evaluate<string>('document.activeElement.id || document.activeElement.className'));
  }
  for (const id of [
    'skip',
    'connection-again',
    'hello-run',
    'upload-file',
    'upload-size',
    'upload-random',
    'download-size',
    'download-run',
    'download-save',
    'chat-log',
    'chat-text',
    'chat-send',
  ]) {
    t.true(reached.has(id), id);
  }
});
