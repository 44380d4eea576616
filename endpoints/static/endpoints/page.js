/** What every page does: its times go on, bars say what lies under the pointer, and questions and sentences work. */
import "./ask.js";
import "./bars.js";
import { tick } from "./clock.js";

tick();
setInterval(() => document.hidden || tick(), 1000);
