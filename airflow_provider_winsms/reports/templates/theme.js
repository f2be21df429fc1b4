// Airflow keeps the choice of light or dark under this name, on the same origin.
const follow = () => {
  const theme = localStorage.getItem("theme");
  document.documentElement.style.colorScheme = ["light", "dark"].includes(theme) ? theme : "light dark";
};
follow();
addEventListener("storage", follow);
