// What users of this package may import.

export { type ClientLimits, limitClients } from './client-limits.js';
export {
  type ConnectionInfo,
  connectionInfo,
  type IngressInterface,
  type TlsFacts,
} from './connection-info.js';
export { ERRORS, RuntimeError, type RuntimeErrorCode } from './errors.js';
export { connectionInfoPlugin, handoverRequestId, handoverServer } from './fastify.js';
export * from './front-door/index.js';
export type { CollectorOptions } from './logtail/collector.js';
export type { LineResult } from './logtail/line-buffer.js';
export type { LogEscape } from './logtail/log-escape.js';
export type { LoggedRequest } from './logtail/log-record.js';
export { type Logtail, type LogtailOptions, openLogtail } from './logtail/logtail.js';
export type {
  HandoverMiddleware,
  HandoverObserver,
  IncomingHandover,
  RequestGuard,
} from './middleware.js';
export type { HandoverOptions, HandoverServerOptions, KeepAliveScope, Logger } from './options.js';
export type { Responder } from './responder.js';
export {
  type Admission,
  type AdmissionCount,
  type AdmissionOptions,
  type AdmissionStats,
  admission,
} from './routing/admission.js';
export type { ConnectionPattern } from './routing/connection-table.js';
export type { HostBits } from './routing/prefix.js';
export {
  type ConnectionConstraint,
  type MatchPrefix,
  type PrefixRule,
  prefixMatcher,
} from './routing/prefix-matcher.js';
export {
  type PrefixRoute,
  PrefixRouter,
  type PrefixRouterOptions,
  type PrefixRouterStats,
  type PrefixRoutes,
  prefixRouter,
} from './routing/prefix-router.js';
export { connectionConstraintPlugin } from './routing/route-constraint.js';
export type { FastifyLike, Rejection, RouteTarget, RouteTargets } from './routing/route-target.js';
export { type SendFileOptions, sendFile } from './send-file.js';
export { createServer, HandoverServer, type HandoverServerStats, type RequestListener } from './server.js';
export * from './stats/index.js';
