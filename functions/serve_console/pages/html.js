// Templates of preact elements. Values in a template are text, never markup.

import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
