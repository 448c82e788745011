/**
 * The items of a source in their order, read before they are asked for, up to `limit` of them.
 *
 * `onItem` is told of each as it is read, `onEnd` that it was the last. Several may ask at once.
 */
export async function* readAhead<T>(
  source: AsyncGenerator<T>,
  limit: number,
  { onItem, onEnd }: { readonly onItem: (item: T) => void; readonly onEnd: () => void },
): AsyncGenerator<T> {
  const ready: T[] = [];
  let state: 'reading' | 'ended' | 'stopped' = 'reading';
  // One waits at a time: for an item where there is none, or for room where there is none.
  let wake = () => {};
  const change = () => new Promise<void>((resolve) => (wake = resolve));
  const reading = (async () => {
    try {
      for await (const item of source) {
        onItem(item);
        ready.push(item);
        wake();
        while (ready.length >= limit && state === 'reading') await change();
        if (state !== 'reading') return;
      }
      onEnd();
    } finally {
      if (state === 'reading') state = 'ended';
      wake();
    }
  })();
  // Told when the items before it are used.
  reading.catch(() => {});
  try {
    for (;;) {
      const item = ready.shift();
      if (item !== undefined) {
        wake();
        yield item;
      } else if (state === 'reading') await change();
      else return await reading;
    }
  } finally {
    state = 'stopped';
    wake();
    await reading.catch(() => {});
  }
}
