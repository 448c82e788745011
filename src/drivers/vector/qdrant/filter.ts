import type { Schemas } from '@qdrant/js-client-rest';
import { inTerms, parseFilter, type Filter, type TermFilter } from '../../../driver.ts';
import { orderedNumber } from './numbers.ts';

type Condition = Schemas['Condition'];

/** No point has one of no ids. An empty `should`, and an empty `any`, are no condition at all in Qdrant. */
const NOTHING: Condition = { has_id: [] };
/** All of no conditions. */
export const EVERYTHING: Schemas['Filter'] = { must: [] };

/**
 * The filter in Qdrant's language, over the fields `terms` and `numbers` of the payload.
 *
 * Names and values of the tenant are values in it and never keys, which are paths in a language of their own.
 *
 * @throws ConnectorError `unsupported` for an order of strings.
 */
export function compiled(filter: Filter): Schemas['Filter'] {
  return { must: [condition(inTerms(parseFilter(filter)))] };
}

function condition(node: TermFilter): Condition {
  switch (node.op) {
    case 'and':
      return { must: node.nodes.map(condition) };
    case 'or':
      return node.nodes.length === 0 ? NOTHING : { should: node.nodes.map(condition) };
    case 'not':
      return { must_not: [condition(node.node)] };
    case 'any':
      return node.terms.length === 0 ? NOTHING : { key: 'terms', match: { any: [...node.terms] } };
    default:
      return {
        nested: {
          key: 'numbers',
          filter: { must: [{ key: 'field', match: { value: node.field } }, order(node.op, node.value)] },
        },
      };
  }
}

/** Beyond by the high half, or there and beyond (or at it) by the low half. */
function order(op: 'gt' | 'gte' | 'lt' | 'lte', value: number): Condition {
  const { high, low } = orderedNumber(value);
  const beyond = op === 'gt' || op === 'gte' ? 'gt' : 'lt';
  return {
    should: [
      { key: 'high', range: { [beyond]: high } },
      {
        must: [
          { key: 'high', match: { value: high } },
          { key: 'low', range: { [op]: low } },
        ],
      },
    ],
  };
}
