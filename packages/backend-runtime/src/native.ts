// The one file of this package that knows the addon. Loaded at the first call, so that importing the package, and
// `app.inject()`, need no binary.
import { loadNative, type NativeBinding } from '@fdpass/native';

export {
  type FdPoller,
  type NetworkInterface,
  PARKING,
  PARKING_EVENT,
  type ParkingLot,
  SOCKET_FACT,
  type SocketAddress,
  type TcpInfo,
} from '@fdpass/native';

/** The addon's binding. @throws `ERR_FDPASS_PLATFORM`, `ERR_FDPASS_ADDON` */
export const native = (): NativeBinding => loadNative();
