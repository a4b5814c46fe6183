// What the rest of the package may import of the front door.
export type { ClientAddress } from './client.js';
export { createFrontDoor, type FrontDoor, type FrontDoorEvents } from './front-door.js';
export type { FrontDoorOptions, FrontDoorRoute } from './options.js';
export type { FrontDoorPartition, FrontDoorStats } from './stats.js';
