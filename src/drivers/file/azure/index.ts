import { defineFileDriver } from '../../../driver.ts';
import { BLOCK_BYTES, MAX_BLOCKS } from './blocks.ts';
import { openAzure } from './open.ts';
import { azureOptions } from './options.ts';
import { PEERS } from './service.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'azure',
  title: 'Azure Blob Storage',
  remote: true,
  options: azureOptions,
  peers: PEERS,
  capabilities: {
    ranges: true,
    // Both conditions are checked where the blob is replaced: https://learn.microsoft.com/rest/api/storageservices/specifying-conditional-headers-for-blob-service-operations (read 2026-11-27)
    createOnly: true,
    ifMatch: true,
    atomicReplace: true,
    copy: true,
    move: true,
    presignedBy: 'backend',
    // A signature can say with which headers Azure answers (rsct and its like), and nothing of what may be put.
    presignConditions: [],
    contentType: true,
    metadata: true,
    // A name has at most 1,024 characters; a blob has at most 50,000 blocks, which here have 8 MiB each:
    // https://learn.microsoft.com/en-gb/azure/storage/blobs/scalability-targets (read 2026-11-27)
    limits: { pathBytes: 1024, fileBytes: MAX_BLOCKS * BLOCK_BYTES },
  },
  open: openAzure,
});
