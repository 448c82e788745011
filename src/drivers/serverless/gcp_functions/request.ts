import { type ClientInvocation, invocationHeaders, type JsonValue } from '../../../driver.ts';
import type { Place } from './places.ts';

/** What is posted to a function. */
export type FunctionRequest = { readonly headers: Readonly<Record<string, string>>; readonly body: string };

/**
 * The payload as JSON, or as the data of a CloudEvent in binary mode, whose id is that of the invocation.
 *
 * https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md#31-binary-content-mode
 * (read 2026-11-28): each attribute is a header `ce-…`, the content type is that of the data.
 */
export function requestOf(
  { signature, eventType }: Pick<Place, 'signature' | 'eventType'>,
  payload: JsonValue,
  { requestId }: Pick<ClientInvocation, 'requestId'>,
  connectorId: string,
): FunctionRequest {
  return {
    headers: {
      ...invocationHeaders({ requestId }),
      'content-type': contentType(payload),
      accept: 'application/json, text/plain;q=0.5, */*;q=0.1',
      ...(signature === 'cloudevent' && {
        'ce-specversion': '1.0',
        'ce-id': encoded(requestId),
        'ce-source': encoded(`/connectors/${connectorId}`),
        'ce-type': encoded(eventType),
      }),
    },
    body: JSON.stringify(payload),
  };
}

/**
 * The framework for Node answers 400 in the function's place to `application/json` that is no object and no list
 * (body-parser, `strict`). As another type of JSON it reaches the function: as `rawBody`, and in Python by `get_json`.
 */
function contentType(payload: JsonValue): string {
  return typeof payload === 'object' && payload !== null ? 'application/json' : 'application/x.scalar+json';
}

/** Section 3.1.3.2 of the binding: blanks, quotes and percent signs are percent-encoded; ours are ASCII otherwise. */
function encoded(value: string): string {
  return value.replaceAll(/[ "%]/g, (one) => encodeURIComponent(one));
}
