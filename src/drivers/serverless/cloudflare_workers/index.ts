import { defineServerlessDriver } from '../../../driver.ts';
import { CLOUDFLARE_RANGE } from './api.ts';
import { PAYLOAD_BYTES } from './client.ts';
import { openWorkers } from './open.ts';
import { cloudflareWorkersOptions } from './options.ts';

export default defineServerlessDriver({
  kind: 'serverless',
  id: 'cloudflare_workers',
  title: 'Cloudflare Workers',
  remote: true,
  options: cloudflareWorkersOptions,
  capabilities: {
    deploy: false,
    logs: false,
    native: 'follow',
    // The time is ours: a Worker has no limit of its own while its caller stays connected, and a Workflow may sleep for
    // a year. https://developers.cloudflare.com/workers/platform/limits/#duration and
    // https://developers.cloudflare.com/workflows/reference/limits/ (read 2026-11-28)
    limits: { payloadBytes: PAYLOAD_BYTES, timeoutSeconds: 86_400 },
  },
  peers: { cloudflare: CLOUDFLARE_RANGE },
  open: openWorkers,
});
