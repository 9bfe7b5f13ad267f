/** A result as a file: its pictures become live where scripts run, and stay as they were drawn where they do not. */
import { follow } from "../state/theme";
import { draw } from "./pictures";
import type { View } from "../api/generated";

const given = document.getElementById("fluoroscope-views")!;
const place = document.createElement("div");
place.className = "live";
follow();
draw(place, { title: "", summary: "", views: JSON.parse(given.textContent!) as View[] });
const drawn = document.querySelector(".pictures")!;
drawn.before(place);
drawn.classList.add("replaced");
