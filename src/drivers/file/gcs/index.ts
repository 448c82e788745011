import { defineFileDriver } from '../../../driver.ts';
import { openGcs, PEER_RANGE } from './open.ts';
import { gcsOptions } from './options.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'gcs',
  title: 'Google Cloud Storage',
  options: gcsOptions,
  capabilities: {
    ranges: true,
    createOnly: true,
    ifMatch: true,
    atomicReplace: true,
    copy: true,
    move: true,
    presignedBy: 'backend',
    presignConditions: ['contentType', 'maxBytes'],
    contentType: true,
    metadata: true,
    // Object names are "1-1024 bytes when UTF-8 encoded" in a flat namespace, an object 5 TiB:
    // https://cloud.google.com/storage/quotas (read 2026-11-27).
    limits: { pathBytes: 1024, fileBytes: 5 * 2 ** 40 },
  },
  peers: { 'google-auth-library': PEER_RANGE },
  remote: true,
  open: openGcs,
});
