import test from 'ava';
import { isTcpListener } from '#runtime/front-door/listener.js';
import { ListenerGroup, type ListenerGroupHost } from '#runtime/front-door/listener-group.js';
import type { FrontDoorRoute } from '#runtime/front-door/options.js';
import { frontDoorRoutes, groupsOf, type RouteGroup } from '#runtime/front-door/routes.js';
import { InterfaceTable } from '#runtime/ingress/interface-table.js';
import { guardDescriptors } from '../../helpers/descriptors.js';

guardDescriptors(test);

const host: ListenerGroupHost = {
  interfaces: new InterfaceTable([], { rescanIntervalMs: 0 }),
  backend: (name) => ({ name, sender: undefined as never }),
  onClient: () => {},
  onUnrouted: () => {},
  onRerouted: () => {},
  onAcceptError: () => {},
  onNoProgram: () => {},
};

const groupOf = (...listeners: FrontDoorRoute[]): RouteGroup =>
  groupsOf(frontDoorRoutes(listeners))[0] as RouteGroup;

/** A client whose handshake has begun is lost with its socket, however soon that is closed. */
test('sockets that join a port get no clients as long as the replacement may fail', (t) => {
  const plain = groupOf({ host: '::', port: 0, to: '/a' });
  const group = new ListenerGroup(plain, host);
  group.grow(plain, '::');
  group.listen();
  group.use(plain);
  const listening = (): boolean[] => group.sockets.map(({ fd }) => isTcpListener(fd));
  t.deepEqual(listening(), [true]);
  const { port } = group.address;
  const split = groupOf(
    { host: '::', port, prefixes: ['127.0.1.0/24'], to: '/a' },
    { host: '::', port, prefixes: ['127.0.2.0/24'], to: '/b' },
  );
  group.grow(split, '::');
  t.deepEqual(listening(), [true, false, false]);
  group.shrink(1);
  t.deepEqual(listening(), [true]);
  group.grow(split, '::');
  group.listen();
  group.use(split);
  t.deepEqual(listening(), [true, true, true]);
  t.like(group.stats(), { by: 'kernel', sockets: 3 });
  group.shrink(0);
});
