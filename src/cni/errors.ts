/** Errors of the CNI specification 1.1.0, section "Error": what the runtime prints in the pod's events. */
import { CodedError } from "../lib/errors.ts";

export const CniErrorCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  /** Also: the container is not known; the runtime needs no clean-up. */
  unknownContainer: 3,
  environment: 4,
  io: 5,
  decode: 6,
  invalidConfig: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  internal: 999,
} as const;

export type CniErrorCode = (typeof CniErrorCode)[keyof typeof CniErrorCode];

export class CniError extends CodedError {
  readonly cniCode: CniErrorCode;
  readonly details: string;

  constructor(cniCode: CniErrorCode, message: string, details = "", cause?: unknown) {
    super(`CNI_${cniCode}`, message, { cause });
    this.name = "CniError";
    this.cniCode = cniCode;
    this.details = details;
  }
}
