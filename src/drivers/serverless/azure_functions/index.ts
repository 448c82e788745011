import { defineServerlessDriver } from '../../../driver.ts';
import { PEERS } from './catalogue.ts';
import { MAX_BYTES } from './function-app.ts';
import { openAzureFunctions } from './open.ts';
import { azureFunctionsOptions } from './options.ts';

export default defineServerlessDriver({
  kind: 'serverless',
  id: 'azure_functions',
  title: 'Azure Functions',
  remote: true,
  options: azureFunctionsOptions,
  peers: PEERS,
  capabilities: {
    deploy: false,
    logs: false,
    native: 'follow',
    // A request has at most 100 MB, and Azure's load balancer ends one after 230 seconds, whatever the app's own limit:
    // https://github.com/MicrosoftDocs/azure-docs/blob/main/articles/azure-functions/functions-bindings-http-webhook-trigger.md#limits
    // (read 2026-11-28). The bytes are ours: payload and result are each in memory as one.
    limits: { payloadBytes: MAX_BYTES, timeoutSeconds: 230 },
  },
  open: openAzureFunctions,
});
