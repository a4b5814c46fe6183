// What users of this package may import.

export { ERRORS, type ErrorScope, WireError, type WireErrorCode, type WireErrorInit } from './errors.js';
export { defaultWireLimits, MAX_LIMIT, type WireLimits, wireLimits } from './limits.js';
export {
  type Dialect,
  encodeMessage,
  type KtlsReceive,
  type Message,
  MessageDecoder,
  type MessageToEncode,
} from './message.js';
export { encodeNetstring, NetstringDecoder } from './netstring.js';
export { decodeScgiHeaders, encodeScgiHeaders, ScgiHeaders, SINGLETON_NAMES } from './scgi-headers.js';
