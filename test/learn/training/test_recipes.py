"""Recipes: every number in YAML, checked, changed from the command line, written back."""

from __future__ import annotations

import argparse
import dataclasses
import re

import pytest
import yaml
from repository import ROOT

from ovseg_ros.app.learn import train as learn_train
from ovseg_ros.errors import ConfigError
from ovseg_ros.learn.training.augment_pairs import Augment
from ovseg_ros.learn.training.recipes import (
    FinetuneRecipe,
    PromptsRecipe,
    list_recipes,
    load_recipe,
    recipe_from,
    recipe_values,
    save_recipe,
)


@pytest.mark.parametrize("name", list_recipes())
@pytest.mark.parametrize("stage", ["finetune", "prompts"])
def test_every_recipe_has_both_stages(name, stage):
    recipe = load_recipe(name, stage)
    assert isinstance(recipe, FinetuneRecipe if stage == "finetune" else PromptsRecipe)


def test_the_papers_numbers():
    recipe = load_recipe("paper_vitl14", "finetune")
    assert (recipe.epochs, recipe.batch, recipe.learning_rate, recipe.weight_decay) == (5, 256, 5e-6, 0.2)
    assert (recipe.betas, recipe.epsilon, recipe.warmup_steps) == ((0.9, 0.98), 1e-6, 100)
    assert (recipe.schedule, recipe.augment.crop, recipe.same_noun) == ("cosine", (0.9, 1.0), "negative")
    assert recipe.augment.fills == {"mean": 1.0}
    prompts = load_recipe("paper_vitl14", "prompts")
    assert (prompts.depth, prompts.learning_rate, prompts.weight_decay, prompts.epochs) == (3, 0.02, 0.0, 5)
    assert (prompts.schedule, prompts.warmup_steps) == ("cosine", 100)


def test_values_can_be_changed():
    changes = [
        "epochs=2",
        "learning_rate=5e-4",
        "augment.flip=0.25",
        "augment.fills={black: 1.0}",
        "betas=[0, 0.9]",
    ]
    recipe = load_recipe("mini", "finetune", changes)
    assert (recipe.epochs, recipe.learning_rate, recipe.augment.flip) == (2, 5e-4, 0.25)
    assert (recipe.augment.fill, recipe.betas) == ("black", (0, 0.9))
    assert recipe.augment.crop == load_recipe("mini", "finetune").augment.crop
    assert load_recipe("mini", "finetune", ["max_steps=7"]).max_steps == 7


@pytest.mark.parametrize("stage", ["finetune", "prompts"])
def test_a_recipe_is_read_back_as_it_was_saved(tmp_path, stage):
    recipe = load_recipe("vitb16_one_gpu", stage, ["seed=4", "max_steps=9"])
    save_recipe(tmp_path / "recipe.yaml", stage, recipe)
    assert load_recipe(tmp_path / "recipe.yaml", stage) == recipe
    assert recipe_from(recipe_values(recipe), stage) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epoch=3", "does not know epoch"),
        ("augment.flop=1", "does not know flop"),
        ("augment={flip: 1}", "augment.flip=0.5"),
        ("epochs", "KEY=VALUE"),
        ("epochs=[", "--set epochs is not YAML"),
        ("epochs=many", "expected epochs as int"),
        ("epochs=0", "epochs >= 1"),
        ("batch=0", "batch >= 1"),
        ("learning_rate=-1", "learning_rate > 0"),
        ("learning_rate=fast", "expected learning_rate as float"),
        ("weight_decay=-1", "weight_decay >= 0"),
        ("max_steps=0", "max_steps >= 1"),
        ("average=1.0", "average and held_out"),
        ("held_out=1.0", "average and held_out"),
        ("betas=[0.9]", "two betas"),
        ("same_noun=both", "expected same_noun one of negative, positive"),
        ("precision=int8", "expected precision one of"),
        ("schedule=linear", "expected schedule one of"),
        ("templates=mine", "expected templates one of"),
        ("logit_scale=-3", "expected logit_scale > 0"),
        ("max_logit_scale=0.5", "expected max_logit_scale > 1"),
        ("augment.flip=2", "augment.flip"),
        ("prompts: depth=0", "depth >= 1"),
        ("prompts: start=old", "start fresh or preset"),
        ("prompts: train_logit_scale=true", "does not know"),
    ],
)
def test_what_cannot_be_is_refused(change, message):
    stage = "prompts" if change.startswith("prompts: ") else "finetune"
    with pytest.raises(ConfigError, match=message):
        load_recipe("mini", stage, [change.removeprefix("prompts: ")])


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"expected a recipe .*mini.*paper_vitl14"):
        load_recipe("nobody", "finetune")
    path = tmp_path / "r.yaml"
    for text, message in (
        ("a: [", "is not YAML"),
        ("finetun: {}", "does not know finetun"),
        ("prompts: {depth: 2}", "expected a part 'finetune', it has prompts"),
        ("finetune: 3", "expected finetune as key: value pairs"),
        ("finetune: {augment: 3}", "expected augment as key: value pairs"),
    ):
        path.write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_recipe(path, "finetune")


DOCS = ROOT / "docs" / "training.md"


@pytest.mark.parametrize(
    ("table", "kinds"), [("fields", (FinetuneRecipe, PromptsRecipe)), ("augment", (Augment,))]
)
def test_the_documentation_has_every_field_with_its_default(table, kinds):
    text = (
        DOCS.read_text(encoding="utf-8")
        .split(f"<!-- {table}: begin -->")[1]
        .split(f"<!-- {table}: end -->")[0]
    )
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) ?\| .+ \|$", text, re.MULTILINE))
    wanted = {f.name: getattr(kind(), f.name) for kind in reversed(kinds) for f in dataclasses.fields(kind)}
    assert set(rows) == set(wanted)
    for name, shown in rows.items():
        value = list(wanted[name]) if isinstance(wanted[name], tuple) else wanted[name]
        if not isinstance(value, Augment):
            told = yaml.safe_load(shown)
            assert value == (float(told) if isinstance(value, float) else told), name


def test_the_documentation_has_every_option():
    commands = argparse.ArgumentParser().add_subparsers()
    learn_train.add_parser(commands)
    told = re.findall(r"^\| `(--[\w-]+)", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    for stage in ("finetune", "prompts"):
        options = [
            o for a in commands.choices[stage]._actions for o in a.option_strings if o.startswith("--")
        ]
        assert sorted(told) == sorted(set(options) - {"--help"})
