import { defineFileDriver, PRESIGNED_BY_SERVER } from '../../../driver.ts';
import { openSftp } from './client.ts';
import { PEER_RANGE } from './connection.ts';
import { sftpOptions } from './options.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'sftp',
  title: 'SFTP server',
  options: sftpOptions,
  capabilities: {
    ranges: true,
    // By a hard link, which fails where the name is taken; a server without that extension is told so call by call.
    createOnly: true,
    // Size and whole seconds do not tell two contents apart, and no request compares and replaces in one step.
    ifMatch: false,
    atomicReplace: true,
    copy: true,
    move: true,
    ...PRESIGNED_BY_SERVER,
    contentType: false,
    metadata: false,
    // Ours: the server's own limit counts from its root on, and is 4,096 bytes on Linux. 16 TiB is ext4's.
    limits: { pathBytes: 2048, fileBytes: 2 ** 44 },
  },
  peers: { 'ssh2-sftp-client': PEER_RANGE },
  remote: true,
  open: openSftp,
});
