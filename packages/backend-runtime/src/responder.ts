// Who answers the requests of a connection instead of the server that it came to: the server's settings and its parser hold, and the
// other's listeners hear of the requests.
import { Server } from 'node:http';
import type { Socket } from 'node:net';

/** Gets the events of http.Server for the connections it answers; an http.Server is one, whether it listens or not. */
export type Responder = Pick<Server, 'emit' | 'listenerCount'>;

type ServedSocket = Socket & { server?: Server };

/**
 * Gives http.Server's own listener to 'connection', for each connection that somebody else answers, a view of the server instead: it
 * asks there whether anybody listens to 'upgrade' or 'checkContinue', and emits there.
 * @param responderOf undefined for connections that the server answers itself
 */
export function letOthersAnswer(
  server: Server,
  responderOf: (socket: unknown) => Responder | undefined,
): void {
  const views = new WeakMap<Responder, Server>();
  const serverFor = (socket: unknown): Server => {
    const responder = responderOf(socket);
    if (responder === undefined) return server;
    const view = views.get(responder) ?? viewOf(server, responder);
    views.set(responder, view);
    return view;
  };
  const [onConnection] = server.listeners('connection') as [(this: Server, socket: ServedSocket) => void];
  server.removeListener('connection', onConnection);
  server.on('connection', (socket: ServedSocket) => {
    onConnection.call(serverFor(socket), socket);
    // Where http.Server has left the view: applications ask the server itself.
    socket.server = server;
  });
}

/** The server with its settings, and with the responder's listeners; it emits the events of a connection where they belong. */
function viewOf(server: Server, responder: Responder): Server {
  const view: Server = Object.create(server, ownMembersOf(server));
  // Not read-only: who watches all servers (diagnostics_channel) puts a function of his own in this one's place.
  view.emit = (event: string, ...args: unknown[]): boolean => server.emit(event, ...args);
  // Without a listener http.Server answers by itself, unseen by the connection.
  view.listenerCount = (event) => (event === 'checkExpectation' ? 1 : responder.listenerCount(event));
  return view;
}

/** What http.Server does not have, of the server itself: its private names are on no other object. */
function ownMembersOf(server: Server): PropertyDescriptorMap {
  const members: PropertyDescriptorMap = {};
  let prototype = Object.getPrototypeOf(server);
  for (; prototype !== Server.prototype; prototype = Object.getPrototypeOf(prototype)) {
    const { constructor: _, ...described } = Object.getOwnPropertyDescriptors(prototype);
    for (const [name, { value, get }] of Object.entries<PropertyDescriptor>(described)) {
      members[name] ??= get
        ? { get: get.bind(server) }
        : { value: value.bind(server), configurable: true, writable: true };
    }
  }
  return members;
}
