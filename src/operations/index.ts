import * as admin from './admin.ts';
import * as connector from './connector.ts';
import * as file from './file.ts';
import * as transfer from './file-transfer.ts';
import * as invocations from './invocations.ts';
import * as keyring from './keyring.ts';
import type { Operation } from './operation.ts';
import * as serverless from './serverless.ts';
import * as vector from './vector.ts';

/** Everything that the product does for a caller who is not code: what REST, OpenAPI and the command line offer. */
export const operations: readonly Operation[] = [
  connector.connectorList,
  connector.connectorCreate,
  connector.connectorGet,
  connector.connectorUpdate,
  connector.connectorDelete,
  connector.connectorConnect,
  connector.connectorDisconnect,
  connector.connectorTest,
  connector.connectorHealth,
  vector.vectorUpsert,
  vector.vectorImport,
  vector.vectorSearch,
  vector.vectorDelete,
  vector.vectorFetch,
  vector.vectorList,
  vector.vectorCount,
  file.fileList,
  file.fileRead,
  file.fileStat,
  file.fileWrite,
  file.fileDelete,
  transfer.fileCopy,
  transfer.fileMove,
  transfer.filePresign,
  serverless.functionList,
  serverless.functionDeploy,
  serverless.functionRemove,
  serverless.functionInvoke,
  serverless.functionLogs,
  invocations.invocationList,
  invocations.invocationGet,
  invocations.invocationCancel,
  admin.statsGet,
  admin.providerList,
  admin.keyList,
  admin.keyCreate,
  admin.keyRevoke,
  keyring.keyringList,
  keyring.keyringRotate,
  admin.tenantClear,
];
