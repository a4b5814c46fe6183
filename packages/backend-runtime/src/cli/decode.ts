// `fdpass decode`: what is in a captured message.
import { readFile } from 'node:fs/promises';
import { kindOf, type Message, MessageDecoder } from '@fdpass/scgi-fdpass';
import { RuntimeError } from '../errors.js';

/** Reads one whole message. @throws system errors, WireErrors, `BKR_ERR_CAPTURE` if the file ends too early */
export async function readMessage(file: string): Promise<{ bytes: Buffer; message: Message }> {
  const bytes = await readFile(file);
  const message = new MessageDecoder().push(bytes);
  if (message === undefined) throw new RuntimeError('BKR_ERR_CAPTURE', file);
  return { bytes, message };
}

export async function decodeFile(file: string, { json }: { json: boolean }): Promise<void> {
  const { message } = await readMessage(file);
  const { dialect, version, contentLength, earlyBytes, rest, ktls, headers } = message;
  const facts = { dialect, version, kind: kindOf(message), ktls, contentLength };
  const bytes = { earlyBytes: earlyBytes.length, bytesBehind: rest.length };
  if (json) {
    process.stdout.write(
      `${JSON.stringify({ ...facts, ...bytes, headers: [...headers.entries()] }, null, 2)}\n`,
    );
    return;
  }
  for (const [name, value] of Object.entries({ ...facts, ...bytes }))
    process.stdout.write(`# ${name}: ${value}\n`);
  for (const [name, value] of headers.entries()) process.stdout.write(`${visible(name)}=${visible(value)}\n`);
}

/** What a client sent is not for the terminal to obey. */
const visible = (text: string): string =>
  text.replace(/\p{Cc}/gu, (control) => `\\x${Buffer.from(control, 'latin1').toString('hex')}`);
