import type { FunctionConfiguration } from '@aws-sdk/client-lambda';
import { ConnectorError, type FunctionInfo } from '../../../driver.ts';
import type { LambdaApi } from './api.ts';
import { notLambda } from './errors.ts';

/** Most that a listing answers at once, says the reference of `ListFunctionsCommand` in @aws-sdk/client-lambda 3.1164. */
const PAGE = 50;
/** A listing without end would be kept in memory until its time is over. */
const MAX_FUNCTIONS = 50_000;

/** All functions of the account in the region. */
export async function listFunctions(api: LambdaApi, signal: AbortSignal): Promise<readonly FunctionInfo[]> {
  const { ListFunctionsCommand } = api.sdk;
  const found: FunctionInfo[] = [];
  let marker: string | undefined;
  do {
    const command = new ListFunctionsCommand({ MaxItems: PAGE, Marker: marker });
    const { Functions, NextMarker } = await api.ask(command, 'listing', signal);
    if (!Array.isArray(Functions)) throw notLambda();
    found.push(...Functions.flatMap(infoOf));
    if (found.length > MAX_FUNCTIONS) throw tooMany();
    if (marker !== undefined && NextMarker === marker) throw notLambda();
    marker = NextMarker || undefined;
  } while (marker !== undefined);
  return found;
}

/** Asks for one function, which proves the credentials. */
export async function askForAny(api: LambdaApi, signal: AbortSignal): Promise<void> {
  const { ListFunctionsCommand } = api.sdk;
  const { Functions } = await api.ask(new ListFunctionsCommand({ MaxItems: 1 }), 'listing', signal);
  if (!Array.isArray(Functions)) throw notLambda();
}

function infoOf(it: FunctionConfiguration): readonly FunctionInfo[] {
  if (!isShort(it.FunctionName)) return [];
  const modifiedMs = Date.parse(it.LastModified ?? '');
  return [
    {
      name: it.FunctionName,
      ...(isShort(it.Runtime) && { runtime: it.Runtime }),
      ...(it.MemorySize && { memoryMb: it.MemorySize }),
      ...(it.Timeout && { timeoutSeconds: it.Timeout }),
      ...(!Number.isNaN(modifiedMs) && { lastModified: new Date(modifiedMs) }),
      ...(isShort(it.Description) && { description: it.Description }),
      ...(isShort(it.Version) && { version: it.Version }),
    },
  ];
}

/** No text of Lambda's is longer; an endpoint of somebody else's would fill the memory with the pages of a listing. */
function isShort(text: string | undefined): text is string {
  return typeof text === 'string' && text !== '' && text.length <= 1_024;
}

function tooMany(): ConnectorError {
  return new ConnectorError('backend_error', `the listing has more than ${MAX_FUNCTIONS} functions`);
}
