import { defineFileDriver, PRESIGNED_BY_SERVER } from '../../../driver.ts';
import { openLocal } from './client.ts';
import { localOptions } from './options.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'local',
  title: 'Local folder',
  options: localOptions,
  capabilities: {
    ranges: true,
    createOnly: true,
    // No file system compares and replaces in one step, and others may write into the folder.
    ifMatch: false,
    atomicReplace: true,
    copy: true,
    move: true,
    // Node reads no extended attributes, and a type guessed from the name would not be the one that was given.
    ...PRESIGNED_BY_SERVER,
    contentType: false,
    metadata: false,
    // Segments are walked one by one, so the system's own limit of 4,096 for a path does not apply; 16 TiB is ext4's.
    limits: { pathBytes: 4096, fileBytes: 2 ** 44 },
  },
  open: openLocal,
});
