/**
 * Shapes turn JSON values of unknown content into values of a known type, or throw.
 * They keep only the fields they know, so that a newer server may add some.
 *
 * @template T
 * @typedef {(value: unknown, at: string) => T} Shape
 */

/** An error for a value that is not as the protocol says. */
export class ShapeError extends Error {
  /**
   * @param {string} at where in the message, e.g. `participant.tracks[0].kind`
   * @param {string} expected
   */
  constructor(at, expected) {
    super(`${at || "message"} must be ${expected}`);
    this.name = "ShapeError";
    this.at = at;
  }
}

/** @type {Shape<string>} */
export const text = (value, at) => {
  if (typeof value !== "string") throw new ShapeError(at, "a string");
  return value;
};

/** @type {Shape<boolean>} */
export const flag = (value, at) => {
  if (typeof value !== "boolean") throw new ShapeError(at, "true or false");
  return value;
};

/** @type {Shape<number>} */
export const count = (value, at) => {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0) {
    throw new ShapeError(at, "a whole number, 0 or more");
  }
  return value;
};

/** @type {Shape<number>} */
export const number = (value, at) => {
  if (typeof value !== "number") throw new ShapeError(at, "a number");
  return value;
};

/** @type {Shape<Record<string, unknown>>} */
export const object = (value, at) => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ShapeError(at, "an object");
  }
  return /** @type {Record<string, unknown>} */ (value);
};

/**
 * @template {string} Word
 * @param {...Word} words
 * @returns {Shape<Word>}
 */
export function oneOf(...words) {
  return (value, at) => {
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) throw new ShapeError(at, `one of ${words.join(", ")}`);
    return word;
  };
}

/**
 * @template T
 * @param {Shape<T>} item
 * @returns {Shape<T[]>}
 */
export function list(item) {
  return (value, at) => {
    if (!Array.isArray(value)) throw new ShapeError(at, "a list");
    return value.map((each, index) => item(each, `${at}[${index}]`));
  };
}

/**
 * Null and an absent field both read as null.
 *
 * @template T
 * @param {Shape<T>} inner
 * @returns {Shape<T | null>}
 */
export function nullable(inner) {
  return (value, at) => (value === null || value === undefined ? null : inner(value, at));
}

/**
 * @template T
 * @param {Shape<T>} inner
 * @returns {Shape<T | undefined>}
 */
export function optional(inner) {
  return (value, at) => (value === undefined || value === null ? undefined : inner(value, at));
}

/**
 * The name in the API of a field of the protocol: `atMs` of `at_ms`.
 *
 * @template {string} Name
 * @typedef {Name extends `${infer Head}_${infer Tail}` ? `${Head}${Capitalize<Camel<Tail>>}` : Name} Camel
 */

/**
 * @template {string} Name
 * @param {Name} name
 * @returns {Camel<Name>}
 */
export function camel(name) {
  return /** @type {any} */ (name.replace(/_([a-z0-9])/g, (_, letter) => letter.toUpperCase()));
}

/**
 * An object with these fields, under their names in the API.
 *
 * @template {Record<string, Shape<any>>} Fields
 * @param {Fields} fields by their names in the protocol
 * @returns {Shape<{ [Name in keyof Fields & string as Camel<Name>]: ReturnType<Fields[Name]> }>}
 */
export function record(fields) {
  const shapes = Object.entries(fields).map(([name, shape]) => ({ name, as: camel(name), shape }));
  return (value, at) => {
    const source = object(value, at);
    /** @type {Record<string, unknown>} */
    const parsed = {};
    for (const { name, as, shape } of shapes) {
      const field = shape(source[name], at ? `${at}.${name}` : name);
      if (field !== undefined) parsed[as] = field;
    }
    return /** @type {any} */ (parsed);
  };
}
