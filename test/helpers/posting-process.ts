// A process that posts what its argument orders, and sends the result to its parent.
import { post } from './posting-clients.js';

process.send?.(await post(JSON.parse(process.argv[2] as string)));
process.disconnect();
