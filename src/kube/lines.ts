/**
 * Splits a stream of bytes at newlines. It works on bytes, as a UTF-8 character may be cut by the network
 * and a line may be larger than any piece of it (a watch event can be 1.5 MiB).
 */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const NEWLINE = 0x0a;
  let pieces: Uint8Array[] = [];
  for await (const chunk of chunks) {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE, start); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
      pieces.push(chunk.subarray(start, end));
      const line = Buffer.concat(pieces).toString("utf8");
      pieces = [];
      start = end + 1;
      if (line !== "") yield line;
    }
    if (start < chunk.length) pieces.push(chunk.subarray(start));
  }
  // What follows the last newline is a line that the network cut: never parsed.
}
