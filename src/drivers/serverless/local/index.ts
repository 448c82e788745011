import { isAbsolute, join } from 'node:path';
import { defineServerlessDriver, invalidField } from '../../../driver.ts';
import { ESBUILD_RANGE } from './bundle.ts';
import { Bundles } from './bundles.ts';
import { LocalFunctions } from './client.ts';
import { DENO_RANGE, denoRuntime } from './deno.ts';
import { FunctionFolder } from './folder.ts';
import { FunctionLogs } from './logs.ts';
import { localOptions } from './options.ts';
import { enterPool } from './shared-pool.ts';

/** AWS Lambda's own limit of a synchronous payload, so that a function can move there and back. */
const PAYLOAD_BYTES = 6 * 2 ** 20;

export default defineServerlessDriver({
  kind: 'serverless',
  id: 'local',
  title: 'Functions on this machine',
  options: localOptions,
  peers: { deno: DENO_RANGE, esbuild: ESBUILD_RANGE },
  capabilities: {
    deploy: true,
    logs: true,
    native: false,
    limits: { payloadBytes: PAYLOAD_BYTES, timeoutSeconds: 900 },
  },
  async open({ memory_mb: memoryMb, allow_net: allowNet, env, root }, context) {
    if (root !== undefined && !isAbsolute(root)) throw invalidField('options.root', 'is an absolute path');
    const runtime = await denoRuntime();
    const folder = await FunctionFolder.open(root ?? join(context.folder, 'functions'));
    const { pool, leave } = enterPool(runtime, PAYLOAD_BYTES, context);
    return new LocalFunctions({
      folder,
      bundles: new Bundles(folder, join(context.folder, 'bundles'), context.log),
      logs: new FunctionLogs({
        folder: join(context.folder, 'logs'),
        clock: context.clock,
        log: context.log,
      }),
      pool,
      runtime,
      launch: { memoryMb, allowNet, envNames: Object.keys(env).sort() },
      env,
      maxResultBytes: PAYLOAD_BYTES,
      context,
      closed: leave,
    });
  },
});
