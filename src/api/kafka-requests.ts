/** Requests of Kafka's protocol by the names that policies give them (https://kafka.apache.org/protocol#protocol_api_keys). */

const NAMES = [
  "produce", "fetch", "offsets", "metadata", "leaderandisr", "stopreplica", "updatemetadata", "controlledshutdown", "offsetcommit", "offsetfetch", "findcoordinator",
  "joingroup", "heartbeat", "leavegroup", "syncgroup", "describegroups", "listgroups", "saslhandshake", "apiversions", "createtopics", "deletetopics", "deleterecords",
  "initproducerid", "offsetforleaderepoch", "addpartitionstotxn", "addoffsetstotxn", "endtxn", "writetxnmarkers", "txnoffsetcommit", "describeacls", "createacls",
  "deleteacls", "describeconfigs", "alterconfigs",
] as const;

/** Name, in lower case -> the protocol's number. */
export const KAFKA_REQUESTS: ReadonlyMap<string, number> = new Map(NAMES.map((name, number) => [name, number]));

/** What a client of the role must be able to ask. */
export const KAFKA_ROLES: Readonly<Record<string, readonly (typeof NAMES)[number][]>> = {
  produce: ["produce", "metadata", "apiversions"],
  consume: ["fetch", "offsets", "metadata", "offsetcommit", "offsetfetch", "findcoordinator", "joingroup", "heartbeat", "leavegroup", "syncgroup", "apiversions"],
};
