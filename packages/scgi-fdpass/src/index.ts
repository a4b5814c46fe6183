// What users of this package may import.

export { ERRORS, type ErrorScope, WireError, type WireErrorCode, type WireErrorInit } from './errors.js';
export {
  ACKNOWLEDGEMENT,
  closeHandover,
  type FullHandover,
  type Handover,
  type HandoverKind,
  type PartialHandover,
  type RelayHandover,
} from './handover.js';
export { defaultWireLimits, MAX_LIMIT, type WireLimits, wireLimits } from './limits.js';
export {
  type Dialect,
  encodeMessage,
  type KtlsReceive,
  kindOf,
  type Message,
  MessageDecoder,
  type MessageToEncode,
} from './message.js';
export { encodeNetstring, NetstringDecoder } from './netstring.js';
export { passOn } from './onward.js';
export { PassedFd } from './passed-fd.js';
export type { PeerList } from './peer-list.js';
export { Receiver, type ReceiverEvents, type ReceiverOptions, type ReceiverStats } from './receiver.js';
export { decodeScgiHeaders, encodeScgiHeaders, ScgiHeaders, SINGLETON_NAMES } from './scgi-headers.js';
export {
  type OutgoingHandover,
  type RefusalCode,
  Sender,
  type SenderOptions,
  type SendOutcome,
} from './sender.js';
export type { ListenAddress, ListenFd, ListenPath } from './unix-listener.js';
export { MAX_HOPS, type Via } from './via.js';
