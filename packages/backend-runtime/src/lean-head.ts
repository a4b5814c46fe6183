// Which requests are simple enough to be answered without a socket and a parser, and what they are. Pure. It only ever says yes to
// what http.Server's parser would take as it is: for everything else that parser judges.
import type { ScgiHeaders } from '@fdpass/scgi-fdpass';
import { fieldName } from './request-head.js';

/** A request without a body. */
export interface LeanHead {
  readonly method: string;
  readonly target: string;
  /** As IncomingMessage has it: names and values in turn. */
  readonly rawHeaders: string[];
  /** Whether the client said `Connection: close`. */
  readonly saysClose: boolean;
}

const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD']);
/** RFC 9112 section 3.2.1; without a fragment. */
const ORIGIN_FORM = /^\/[\x21\x22\x24-\x7e]*$/;
/** RFC 9110 section 5.5, and no white space around it. */
const FIELD_VALUE = /^(?:[\x21-\x7e\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?)?$/;
/** RFC 9110 section 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** A body, a hop or a protocol to negotiate: for the parser. */
const ORDINARY: ReadonlySet<string> = new Set([
  'content-length',
  'transfer-encoding',
  'expect',
  'upgrade',
  'proxy-connection',
  // http.Server never sees it: see request-head.ts.
  'proxy',
]);

/** Far below every limit that the parser has. */
const MAX_FIELDS = 64;
const MAX_HEAD_LENGTH = 8 * 1024;

type Role = 'field' | 'host' | 'connection' | 'method' | 'target' | 'protocol' | 'other' | 'ordinary';

/** What a name is for. */
interface Known {
  readonly role: Role;
  /** The field's name. */
  readonly name: string;
}

/** Names repeat from request to request; the bounds are for hostile clients. */
const MAX_KNOWN_NAMES = 1024;
const MAX_KNOWN_NAME_LENGTH = 64;

/** The request that an SCGI message brings. @returns undefined for what goes the ordinary way */
export function leanHead(headers: ScgiHeaders): LeanHead | undefined {
  const { pairs } = headers;
  const head = new HeadBuilder();
  let method = '';
  let target = '';
  let protocol = '';
  for (let at = 0; at < pairs.length; at += 2) {
    const value = pairs[at + 1] as string;
    const { role, name } = known(scgiNames, pairs[at] as string, scgiName);
    if (role === 'method') method = value;
    else if (role === 'target') target = value;
    else if (role === 'protocol') protocol = value;
    else if (role !== 'other' && !head.add(role, name, value)) return undefined;
  }
  return protocol === 'HTTP/1.1' ? head.build(method, target) : undefined;
}

const REQUEST_LINE_END = ' HTTP/1.1';

/** The request that a client's bytes are (in latin1), if they are exactly one. @returns undefined for what goes the ordinary way */
export function parseLeanHead(text: string): LeanHead | undefined {
  if (text.length > MAX_HEAD_LENGTH || !text.endsWith('\r\n\r\n')) return undefined;
  const lineEnd = text.indexOf('\r\n');
  const methodEnd = text.indexOf(' ');
  const targetEnd = lineEnd - REQUEST_LINE_END.length;
  if (targetEnd <= methodEnd || !text.startsWith(REQUEST_LINE_END, targetEnd)) return undefined;
  const head = new HeadBuilder();
  const last = text.length - '\r\n'.length;
  for (let at = lineEnd + 2; at < last; ) {
    const end = text.indexOf('\r\n', at);
    const colon = text.indexOf(':', at);
    if (colon === -1 || colon >= end) return undefined;
    const { role, name } = known(fieldNames, text.slice(at, colon), httpName);
    const valueAt = text.charCodeAt(colon + 1) === SPACE ? colon + 2 : colon + 1;
    if (!head.add(role, name, text.slice(valueAt, end))) return undefined;
    at = end + 2;
  }
  return head.build(text.slice(0, methodEnd), text.slice(methodEnd + 1, targetEnd));
}

const SPACE = 0x20;

class HeadBuilder {
  readonly #rawHeaders: string[] = [];
  #length = 0;
  #hasHost = false;
  #saysClose = false;

  /** @returns false if it is for the parser */
  add(role: Role, name: string, value: string): boolean {
    if (role === 'ordinary' || !FIELD_VALUE.test(value)) return false;
    if (role === 'host') {
      if (this.#hasHost) return false;
      this.#hasHost = true;
    } else if (role === 'connection') {
      const option = value.toLowerCase();
      if (option !== 'close' && option !== 'keep-alive') return false;
      this.#saysClose ||= option === 'close';
    }
    this.#length += name.length + value.length;
    this.#rawHeaders.push(name, value);
    return true;
  }

  build(method: string, target: string): LeanHead | undefined {
    if (!METHODS.has(method) || !this.#hasHost || !ORIGIN_FORM.test(target)) return undefined;
    const rawHeaders = this.#rawHeaders;
    if (rawHeaders.length > 2 * MAX_FIELDS || this.#length + target.length > MAX_HEAD_LENGTH)
      return undefined;
    return { method, target, rawHeaders, saysClose: this.#saysClose };
  }
}

const scgiNames = new Map<string, Known>();
const fieldNames = new Map<string, Known>();

function known(names: Map<string, Known>, name: string, classify: (name: string) => Known): Known {
  const found = names.get(name);
  if (found !== undefined) return found;
  const made = classify(name);
  if (names.size < MAX_KNOWN_NAMES && name.length <= MAX_KNOWN_NAME_LENGTH) {
    // A string cut out of a message would keep the whole message in memory.
    names.set(copyOf(name), { role: made.role, name: copyOf(made.name) });
  }
  return made;
}

const SCGI_ROLES: Readonly<Record<string, Role>> = {
  REQUEST_METHOD: 'method',
  REQUEST_URI: 'target',
  SERVER_PROTOCOL: 'protocol',
};

function scgiName(name: string): Known {
  if (!name.startsWith('HTTP_')) {
    return { role: Object.hasOwn(SCGI_ROLES, name) ? (SCGI_ROLES[name] as Role) : 'other', name };
  }
  const field = fieldName(name);
  return field === undefined ? { role: 'ordinary', name } : { role: roleOf(field), name: field };
}

const httpName = (name: string): Known => ({ role: TOKEN.test(name) ? roleOf(name) : 'ordinary', name });

function roleOf(field: string): Role {
  const name = field.toLowerCase();
  if (ORDINARY.has(name)) return 'ordinary';
  return name === 'host' || name === 'connection' ? name : 'field';
}

const copyOf = (text: string): string => Buffer.from(text, 'latin1').toString('latin1');
