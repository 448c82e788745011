import { defineFileDriver, PRESIGNED_BY_SERVER } from '../../../driver.ts';
import { openWebdav } from './open.ts';
import { webdavOptions } from './options.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'webdav',
  title: 'WebDAV',
  remote: true,
  options: webdavOptions,
  capabilities: {
    ranges: true,
    // RFC 4918 has conditions, and does not promise that they and the change are one step.
    createOnly: false,
    ifMatch: false,
    // A MOVE over a file is to delete it first (RFC 4918, section 9.9.3, as golang.org/x/net/webdav quotes and does it).
    atomicReplace: false,
    copy: true,
    move: true,
    ...PRESIGNED_BY_SERVER,
    // Most servers guess the type from the name, and many keep no properties of others.
    contentType: false,
    metadata: false,
    // Ours: no document names limits, and servers refuse what is over theirs with 413, 414 or 507.
    limits: { pathBytes: 1024, fileBytes: 2 ** 44 },
  },
  open: openWebdav,
});
