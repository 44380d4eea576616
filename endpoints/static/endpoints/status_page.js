/** The status page for everyone: its times are in the reader's zone, its bar says what lies under the pointer. */
import "./bars.js";
import { tick } from "./clock.js";

tick();
setInterval(() => document.hidden || tick(), 1000);
