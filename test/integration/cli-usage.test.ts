// The fdpass command as somebody types it: help for everything, and one sentence for what is wrong.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { assertOneSentence, FdpassCommand, root } from '../helpers/fdpass-command.js';

const help: Record<string, RegExp[]> = {
  '': [/serve/, /dev/, /front/, /decode/, /send/, /--version/],
  serve: [
    /<app>/,
    /--socket <path>/,
    /--mode <octal>/,
    /--owner/,
    /--group/,
    /--takeover/,
    /--keep-alive-scope/,
    /--log-level/,
  ],
  dev: [/<app>/, /--port <number>/, /--host <address>/, /--no-watch/, /--log-level/],
  front: [/--listen <host:port>/, /--to <unix:path>/, /repeatable/],
  decode: [/<file>/, /--json/],
  send: [/<file>/, /--to <unix:path>/, /--timeout <seconds>/],
};
for (const [command, parts] of Object.entries(help)) {
  test(`fdpass ${command} --help lists what there is`, async (t) => {
    const { code, stdout, stderr } = await FdpassCommand.run(t, [command, '--help'].filter(Boolean));
    t.is(code, 0);
    t.is(stderr, '');
    t.regex(stdout, new RegExp(`^Usage: fdpass ?${command}`));
    for (const part of parts) t.regex(stdout, part);
  });
}

test('fdpass --version', async (t) => {
  const { code, stdout } = await FdpassCommand.run(t, ['--version']);
  t.is(code, 0);
  t.regex(stdout, /^\d+\.\d+\.\d+\n$/);
});

test('fdpass alone shows the help and fails', async (t) => {
  const { code, stderr } = await FdpassCommand.run(t, []);
  t.is(code, 1);
  t.regex(stderr, /^Usage: fdpass/);
});

const wrong: [args: string, message: RegExp][] = [
  ['bogus', /unknown command 'bogus'/],
  ['serv', /unknown command 'serv' \(Did you mean serve\?\)/],
  ['serve', /missing required argument 'app'/],
  ['serve a b', /too many arguments for 'serve': expected 1 argument but got 2/],
  ['serve app.js --sock x', /unknown option '--sock' \(Did you mean --socket\?\)/],
  ['serve app.js --socket', /'--socket <path>' argument missing/],
  ['serve app.js --socket x --mode 9', /argument '9' is invalid: it must be three or four octal digits/],
  ['serve app.js --socket x --mode 0o660', /it must be three or four octal digits/],
  ['serve app.js --socket x --log-level loud', /'loud' is invalid: allowed choices are fatal, error, warn/],
  ['serve app.js --socket x --keep-alive-scope app', /it must be a path that begins with "\/"/],
  ['serve app.js', /Nothing to listen on: give --socket PATH/],
  ['dev app.js --port abc', /argument 'abc' is invalid: it must be a number from 0 to 65535/],
  ['dev app.js --port 65536', /it must be a number from 0 to 65535/],
  ['dev app.js --port -1', /it must be a number from 0 to 65535/],
  ['dev nothing.js --port 0', /The application nothing\.js does not exist/],
  ['front', /required option '--listen <host:port>' not specified/],
  ['front --listen 127.0.0.1:0', /required option '--to <unix:path>' not specified/],
  ['front --listen 127.0.0.1:0 --listen 127.0.0.1:0 --to unix:/a', /--listen must be followed by its --to/],
  ['front --to unix:/a --listen 127.0.0.1:0', /its --listen must come first/],
  ['front --listen 8080 --to unix:/a', /it must be HOST:PORT/],
  ['front --listen ::1:80 --to unix:/a', /an IPv6 address in brackets/],
  ['front --listen 127.0.0.1:0 --to unix:/tmp/%', /at most 107 bytes/],
  ['decode', /missing required argument 'file'/],
  ['send x', /required option '--to <unix:path>' not specified/],
  ['send x --to unix:/a --timeout 0', /it must be a number above 0, at most 3600/],
];
for (const [line, message] of wrong) {
  test(`fdpass ${line}: one sentence`, async (t) => {
    const args = line.replace('%', 'x'.repeat(110)).split(' ');
    assertOneSentence(t, await FdpassCommand.run(t, args), message);
  });
}

test('npx finds the command at the root of the checkout', async (t) => {
  const bin = join(root, 'node_modules', '.bin', 'fdpass');
  t.true(existsSync(bin), 'run pnpm install');
  const { code, stdout } = await FdpassCommand.run(t, ['--version'], { command: [bin] });
  t.is(code, 0);
  t.regex(stdout, /^\d/);
});
