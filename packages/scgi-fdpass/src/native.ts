// The one file of this package that knows the addon. Loaded at the first call, so that importing the package needs no binary.
import { loadNative, type NativeBinding } from '@fdpass/native';

export {
  type FdListener,
  type FdListenerOptions,
  type FdPoller,
  type PeerCredentials,
  RECORD,
  RECORD_FLAG,
  SOCKET_FACT,
} from '@fdpass/native';

/** The addon's binding. @throws `ERR_FDPASS_PLATFORM`, `ERR_FDPASS_ADDON` */
export const native = (): NativeBinding => loadNative();
