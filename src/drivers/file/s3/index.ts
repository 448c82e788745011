import { defineFileDriver } from '../../../driver.ts';
import { openS3 } from './client.ts';
import { s3Options } from './options.ts';
import { S3_PEERS } from './sdk.ts';

export default defineFileDriver({
  kind: 'file',
  id: 's3',
  title: 'Amazon S3 and compatible stores',
  remote: true,
  peers: S3_PEERS,
  options: s3Options,
  capabilities: {
    ranges: true,
    // Checked while it writes, with 412 for whoever comes too late, and 409 where another operation is in its way:
    // https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html and the API's reference in the SDK
    // (`PutObjectCommand`, both read 2026-11-27). Of twenty at once exactly one wins on Ceph 16 (seen).
    createOnly: true,
    ifMatch: true,
    // No object is ever there in part: `PutObjectCommand`, as above.
    atomicReplace: true,
    copy: true,
    move: true,
    presignedBy: 'backend',
    // A signed PUT may name one exact length, and no longest one.
    presignConditions: ['contentType'],
    contentType: true,
    metadata: true,
    // Keys of 1,024 bytes: https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html; 10,000 parts, here of
    // 512 MiB at most: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html (both read 2026-11-27).
    limits: { pathBytes: 1024, fileBytes: 10_000 * 512 * 2 ** 20 },
  },
  open: openS3,
});
