// The fdpass command: its commands and options. What they do is in the files beside this one.
import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { VERSION } from '../version.js';
import { decodeFile } from './decode.js';
import { dev } from './dev.js';
import { describeFailure } from './failure.js';
import { type FrontPair, front } from './front.js';
import { sendFileTo } from './send.js';
import { type ServeOptions, serve } from './serve.js';

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'];

/** Runs one command line; a failure is one sentence on stderr and exit code 1. */
export async function run(argv: readonly string[]): Promise<void> {
  // `fdpass decode FILE | head`: whoever read our output has enough.
  process.stdout.on('error', () => process.exit());
  try {
    await program().parseAsync([...argv]);
  } catch (error) {
    fail(describeFailure(error));
    // What the application had opened would keep the process alive.
    process.exit(1);
  }
}

const fail = (sentence: string): boolean => process.stderr.write(`fdpass: ${sentence}\n`);

function program(): Command {
  const command = new Command('fdpass')
    .description('Serve applications on client sockets that a web server hands over.')
    .version(VERSION)
    .configureOutput({ outputError: (text) => fail(usageFailure(text)) });
  addServe(command);
  addDev(command);
  addFront(command);
  addWireTools(command);
  return command;
}

/** commander's message as one sentence. */
const usageFailure = (text: string): string =>
  text
    .trim()
    .replace(/^error: |\.$/g, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\. ([A-Za-z])/g, (_end, letter: string) => `: ${letter.toLowerCase()}`);

const logLevel = (): Option =>
  new Option('--log-level <level>', 'least severe log line shown').choices(LOG_LEVELS).default('info');

function addServe(command: Command): void {
  command
    .command('serve')
    .description('serve an application on a UNIX socket, or on the one systemd passes (LISTEN_FDS)')
    .argument(
      '<app>',
      'module or package folder whose default export is a Fastify plugin (JavaScript or TypeScript)',
    )
    .option('--socket <path>', 'UNIX socket to listen on; without it, the descriptor that systemd passes')
    .addOption(
      new Option('--mode <octal>', 'permission bits of the socket').argParser(octal).default(0o660, '660'),
    )
    .option('--owner <user>', 'owner of the socket: a name or a number', nameOrNumber)
    .option(
      '--group <group>',
      'group of the socket, e.g. that of the web server: a name or a number',
      nameOrNumber,
    )
    .option('--takeover', 'replace a process that listens on the socket already', false)
    .option(
      '--keep-alive-scope <prefix>',
      'keep connections open for later requests below this path',
      pathPrefix,
    )
    .option('--pretty', 'log lines for people', false)
    .addOption(logLevel())
    .action((app: string, options: ServeOptions) => serve(app, options));
}

function addDev(command: Command): void {
  command
    .command('dev')
    .description('serve an application behind a front door of its own; reload it when its files change')
    .argument('<app>', 'as for serve')
    .option('--port <number>', 'TCP port of the front door; 0 for any', port, 8080)
    .option('--host <address>', 'address of the front door', '127.0.0.1')
    .option('--no-watch', 'do not reload on changes')
    .addOption(logLevel())
    .action((app, options) => dev(app, options));
}

function addFront(command: Command): void {
  const pairs: FrontPair[] = [];
  const ofLast = (change: (pair: FrontPair) => void): FrontPair[] => {
    const pair = pairs.at(-1);
    if (pair === undefined) throw new InvalidArgumentError('its --listen must come first');
    change(pair);
    return pairs;
  };
  command
    .command('front')
    .description('the front door alone: hand clients of a TCP address over to a UNIX socket')
    .requiredOption(
      '--listen <host:port>',
      'TCP address, or fd:3 for a socket that systemd passes; repeatable, each followed by its --to',
      (value: string) => {
        pairs.push({ listen: inheritedSocket(value) ?? listenAddress(value), to: [] });
        return pairs;
      },
    )
    .option(
      '--prefix <cidr>',
      'only clients of these local addresses; several for one --listen, which others may share',
      (value: string) =>
        ofLast((pair) => {
          pair.prefixes = [...(pair.prefixes ?? []), value];
        }),
    )
    .option('--ingress <name>', 'only clients that come in by this interface', (value: string) =>
      ofLast((pair) => {
        pair.ingress = value;
      }),
    )
    .requiredOption(
      '--to <unix:path>',
      "a backend's socket; several for one --listen are tried in order",
      (value: string) => ofLast((pair) => void pair.to.push(socketPath(value))),
    )
    .addOption(logLevel())
    .action((options) => front(pairs, options));
}

function addWireTools(command: Command): void {
  command
    .command('decode')
    .description('show what is in a captured message')
    .argument('<file>', 'one whole message as received')
    .option('--json', 'as JSON', false)
    .action((file, options) => decodeFile(file, options));
  command
    .command('send')
    .description('send a captured message to a backend, with a socket to answer on, and show its answer')
    .argument('<file>', 'one whole message as received')
    .requiredOption('--to <unix:path>', "the backend's socket", socketPath)
    .option('--timeout <seconds>', 'longest wait for the whole answer', seconds, 10)
    .action((file, options) => sendFileTo(file, options));
}

function octal(value: string): number {
  if (!/^[0-7]{3,4}$/.test(value))
    throw new InvalidArgumentError('it must be three or four octal digits, e.g. 660');
  return Number.parseInt(value, 8);
}

function port(value: string): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number <= 65_535) return number;
  throw new InvalidArgumentError('it must be a number from 0 to 65535');
}

function pathPrefix(value: string): string {
  if (value.startsWith('/')) return value;
  throw new InvalidArgumentError('it must be a path that begins with "/"');
}

/** `unix:/run/app.sock`, `/run/app.sock`, or relative to the working directory. */
const socketPath = (value: string): string => resolve(value.replace(/^unix:/, ''));

function seconds(value: string): number {
  const number = Number(value);
  if (number > 0 && number <= 3600) return number;
  throw new InvalidArgumentError('it must be a number above 0, at most 3600');
}

const nameOrNumber = (value: string): string | number => (/^\d+$/.test(value) ? Number(value) : value);

/** `fd:3`; undefined for anything else. */
function inheritedSocket(value: string): { fd: number } | undefined {
  const [, digits] = /^fd:(\d{1,9})$/.exec(value) ?? [];
  return digits === undefined ? undefined : { fd: Number(digits) };
}

/** `127.0.0.1:8080`, `[::1]:8080`, `localhost:8080`. */
function listenAddress(value: string): { host: string; port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(value) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined || digits === undefined) {
    throw new InvalidArgumentError('it must be HOST:PORT, an IPv6 address in brackets');
  }
  return { host, port: port(digits) };
}
