import { AUTH_RANGE } from '../../../clouds/gcp/google-tokens.ts';
import { defineFileDriver } from '../../../driver.ts';
import { openGcs } from './open.ts';
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
    // Names of 1 to 1,024 bytes of UTF-8: https://cloud.google.com/storage/docs/naming-objects; objects of 5 TB:
    // https://cloud.google.com/storage/quotas (both read 2026-11-27).
    limits: { pathBytes: 1024, fileBytes: 5 * 10 ** 12 },
  },
  peers: { 'google-auth-library': AUTH_RANGE },
  remote: true,
  open: openGcs,
});
