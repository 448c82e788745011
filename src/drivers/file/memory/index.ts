import { defineFileDriver, PRESIGNED_BY_SERVER } from '../../../driver.ts';
import { openMemory } from './client.ts';
import { memoryOptions } from './options.ts';
import { MIB, PROCESS_MB } from './room.ts';

export default defineFileDriver({
  kind: 'file',
  id: 'memory',
  title: 'Memory of this process',
  options: memoryOptions,
  capabilities: {
    ranges: true,
    createOnly: true,
    ifMatch: true,
    atomicReplace: true,
    copy: true,
    move: true,
    ...PRESIGNED_BY_SERVER,
    contentType: true,
    metadata: true,
    // The most that `max_mb` allows.
    limits: { pathBytes: 1024, fileBytes: PROCESS_MB * MIB },
  },
  open: openMemory,
});
